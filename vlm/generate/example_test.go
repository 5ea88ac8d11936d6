package generate_test

import (
	"context"
	"fmt"
	"os"

	"patchwork/engine/cpu"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/pretrained"
)

// ask loads a model on the CPU and asks it about an image.
func ask(folder, file, question string) string {
	model := must(pretrained.Load(folder, cpu.Open(0)))
	defer model.Close()
	img := must(image.Decode(must(os.ReadFile(file))))
	pixels := image.Preprocess(img, model.Config.Vision.ImageSize)
	messages := []chat.Message{{Role: "user", Content: question, Images: 1}}
	prompt := must(model.Processor.Messages(messages, chat.Options{AddGenerationPrompt: true}))
	g := generate.New(model)
	defer g.Close()
	answer := must(g.Generate(context.Background(), prompt, [][]byte{pixels}, generate.Options{MaxNewTokens: 16}))
	return model.Processor.Tokenizer.Decode(answer.IDs, true)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func Example() {
	dir := must(os.MkdirTemp("", "example"))
	defer os.RemoveAll(dir)
	folder, file := colorModel(dir)
	fmt.Println(ask(folder, file, "what color is the shape?"))
	// Output: blue
}

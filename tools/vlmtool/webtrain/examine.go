//go:build js

package main

import (
	"context"
	"syscall/js"

	"patchwork/tools/vlmtool/internal/inpage"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
)

// examples is the number of images that the page shows, each with a question.
const examples = 6

// answerTokens is more than any true answer takes.
const answerTokens = 16

// examiner asks the questions about the images that the model is not trained on.
type examiner struct{ held data.File }

// examine sends how many answers are correct, and some of them.
func (e *examiner) examine(ctx context.Context, step int, model *vlm.Runner) error {
	inpage.Post(map[string]any{"kind": "scoring", "step": step})
	right := 0
	result, err := eval.Run(ctx, model, eval.Options{Data: []data.File{e.held}, Answer: func(a eval.TurnResult) {
		if a.Match {
			right++
		}
	}})
	if err != nil {
		return err
	}
	shown, err := e.answer(ctx, model)
	if err != nil {
		return err
	}
	inpage.Post(map[string]any{"kind": "score", "step": step, "right": right, "asked": result.Turns, "examples": shown})
	return nil
}

// answer answers a question about each of the first images.
func (e *examiner) answer(ctx context.Context, model *vlm.Runner) (shown []any, err error) {
	set, err := data.Open(ctx, []data.File{e.held})
	if err != nil {
		return nil, err
	}
	defer set.Close()
	g := generate.New(model)
	defer g.Close()
	for i := range min(examples, set.Len()) {
		row, err := set.Row(i)
		if err != nil {
			return nil, err
		}
		img, err := image.Decode(row.Images[0])
		if err != nil {
			return nil, err
		}
		turn := row.Turns[0]
		prompt, err := model.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: turn.User}}, Images: 1}, nil)
		if err != nil {
			return nil, err
		}
		pixels := image.Preprocess(img, model.Config.Vision.ImageSize)
		got, err := g.Generate(ctx, prompt, [][]byte{pixels}, generate.Options{MaxNewTokens: answerTokens})
		if err != nil {
			return nil, err
		}
		png := js.Global().Get("Uint8Array").New(len(row.Images[0]))
		js.CopyBytesToJS(png, row.Images[0])
		shown = append(shown, map[string]any{
			"png": png, "question": turn.User, "truth": turn.Assistant, "answer": model.Processor.Tokenizer.Decode(got.IDs, true),
		})
	}
	return shown, nil
}

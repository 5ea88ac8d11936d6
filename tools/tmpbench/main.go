package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"patchwork/engine/cpu"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
)

func main() {
	l, err := pretrained.LoadWith(os.Args[1], cpu.Open(0), pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
	if err != nil {
		panic(err)
	}
	l.Processor.EOS = nil
	prompt := func(i int) chat.Tokens {
		p, _ := l.Processor.Messages([]chat.Message{{Role: "user", Content: fmt.Sprintf("%d. Tell me a long story about the sea.", i)}}, chat.Options{AddGenerationPrompt: true})
		return p
	}
	ctx := context.Background()
	g := generate.New(l)
	for round := 0; round < 2; round++ {
		r, err := g.Generate(ctx, prompt(0), nil, generate.Options{MaxNewTokens: 100})
		if err != nil {
			panic(err)
		}
		fmt.Printf("infer: %.1f tokens/s\n", float64(len(r.IDs))/r.Decode.Seconds())
		b, err := generate.NewBatch(l, generate.BatchOptions{Sequences: 16, Context: 1024})
		if err != nil {
			panic(err)
		}
		for _, n := range []int{1, 1, 2, 4, 8, 16} {
			for i := 0; i < n; i++ {
				if _, err := b.Start(prompt(i+100*n), nil, generate.Options{MaxNewTokens: 100}); err != nil {
					panic(err)
				}
			}
			for i := 0; i < n+3; i++ {
				b.Step(ctx)
			}
			start, steps := time.Now(), 0
			for steps < 60 {
				b.Step(ctx)
				steps++
			}
			t := time.Since(start).Seconds()
			fmt.Printf("batch of %d: %.1f tokens/s, %.1f ms a step\n", n, float64(n*steps)/t, 1000*t/float64(steps))
			for b.Len() > 0 {
				b.Step(ctx)
			}
		}
		b.Close()
	}
}

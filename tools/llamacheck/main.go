// Command llamacheck continues texts greedily for check.py:
//
//	go run ./tools/llamacheck MODEL.gguf WEIGHTS TOKENS < TEXTS.json
//
// WEIGHTS are the values of --weights. Of each text of the array it prints a line of JSON: {"prompt": its ids,
// "ids": TOKENS ids after it, past any end token, "leads": by how much each one's logit is above the next}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"

	"patchwork/engine/cpu"
	"patchwork/vlm"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
)

func main() {
	if len(os.Args) != 4 || !slices.Contains(pretrained.WeightsNames, os.Args[2]) {
		fmt.Fprintln(os.Stderr, "usage: llamacheck MODEL.gguf WEIGHTS TOKENS < TEXTS.json")
		os.Exit(2)
	}
	if err := run(os.Args[1], pretrained.Weights(os.Args[2]), os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "llamacheck:", err)
		os.Exit(1)
	}
}

func run(model string, weights pretrained.Weights, tokens string) error {
	n, err := strconv.Atoi(tokens)
	if err != nil {
		return err
	}
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return err
	}
	dev := cpu.Open(0)
	defer dev.Close()
	l, err := pretrained.LoadWith(model, dev, pretrained.LoadOptions{Weights: weights})
	if err != nil {
		return err
	}
	defer l.Close()
	l.Processor.EOS = nil
	g := generate.New(l)
	defer g.Close()
	for _, text := range texts {
		c, err := continued(g, text, n)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// continuation is what is printed of a text.
type continuation struct {
	Prompt []int32   `json:"prompt"`
	IDs    []int32   `json:"ids"`
	Leads  []float64 `json:"leads"`
}

func continued(g *generate.Generator, text string, tokens int) (c continuation, err error) {
	prompt, err := g.Processor.Raw(text, nil, nil, vlm.BOSAuto)
	if err != nil {
		return c, err
	}
	c.Prompt = prompt.IDs
	_, err = g.Generate(context.Background(), prompt, nil, generate.Options{
		MaxNewTokens: tokens, LogProbs: true, TopLogProbs: 2,
		Token: func(t generate.Token) bool {
			c.IDs, c.Leads = append(c.IDs, t.ID), append(c.Leads, t.Top[0].LogProb-t.Top[1].LogProb)
			return true
		},
	})
	return c, err
}

// Command transformerscheck prints a model's predictions for check.py and gemma.py:
//
//	go run ./tools/transformerscheck MODEL ID,ID,…
//	go run ./tools/transformerscheck MODEL PROMPT.json [ADAPTER]
//
// One line of JSON: {"nll": of every id but the first, "logits": after the last}, or what printPrompt says.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"patchwork/engine/cpu"
	"patchwork/vlm/eval"
	"patchwork/vlm/pretrained"
)

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: transformerscheck MODEL ID,ID,…|PROMPT.json [ADAPTER]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], strings.Join(os.Args[3:], "")); err != nil {
		fmt.Fprintln(os.Stderr, "transformerscheck:", err)
		os.Exit(1)
	}
}

func run(model, list, adapter string) error {
	dev := cpu.Open(0)
	defer dev.Close()
	l, err := pretrained.LoadWith(model, dev, pretrained.LoadOptions{Adapter: adapter})
	if err != nil {
		return err
	}
	defer l.Close()
	if strings.HasSuffix(list, ".json") {
		return printPrompt(l, list)
	}
	var ids []int32
	for word := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return err
		}
		ids = append(ids, int32(id))
	}
	nll, logits, err := eval.Score(context.Background(), l, ids)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string][]float32{"nll": nll, "logits": logits})
}

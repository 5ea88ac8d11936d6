// Command transformerscheck prints a model's predictions for check.py:
//
//	go run ./tools/transformerscheck MODEL ID,ID,…
//
// One line of JSON: {"nll": of every id but the first, "logits": after the last}.
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
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: transformerscheck MODEL ID,ID,…")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "transformerscheck:", err)
		os.Exit(1)
	}
}

func run(model, list string) error {
	var ids []int32
	for word := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return err
		}
		ids = append(ids, int32(id))
	}
	dev := cpu.Open(0)
	defer dev.Close()
	l, err := pretrained.Load(model, dev)
	if err != nil {
		return err
	}
	nll, logits, err := eval.Score(context.Background(), l, ids)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string][]float32{"nll": nll, "logits": logits})
}

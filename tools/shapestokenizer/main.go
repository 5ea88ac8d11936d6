// Command shapestokenizer writes the tokenizer of the shapes preset:
//
//	go run ./tools/shapestokenizer vlm/pretrained/presets/shapes
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: shapestokenizer DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "shapestokenizer:", err)
		os.Exit(1)
	}
}

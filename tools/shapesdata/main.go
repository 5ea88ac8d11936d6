// Command shapesdata writes the demo's data set: small images of coloured shapes with
// questions and answers, as parquet files in FineVision's schema.
//
//	go run ./tools/shapesdata --out demo/data
//
// The same flags give the same bytes. No test image occurs in the training data.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"patchwork/tools/internal/shapes"
	"patchwork/vlm/data"
)

// Files of generate.
const (
	trainFile = "train-00000-of-00001.parquet"
	testFile  = "test-00000-of-00001.parquet"
)

type options struct {
	out         string
	train, test int // numbers of images
	seed        uint64
}

func main() {
	var o options
	pflag.StringVar(&o.out, "out", "", "folder for the two parquet files")
	pflag.IntVar(&o.train, "train", 16000, "number of training images")
	pflag.IntVar(&o.test, "test", 500, "number of test images")
	pflag.Uint64Var(&o.seed, "seed", 1, "random seed")
	pflag.Parse()
	if o.out == "" || o.train < 1 || o.test < 1 || pflag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "usage: shapesdata --out DIR [flags]\n", pflag.CommandLine.FlagUsages())
		os.Exit(2)
	}
	if err := generate(o); err != nil {
		fmt.Fprintln(os.Stderr, "shapesdata:", err)
		os.Exit(1)
	}
	fmt.Printf("%d training images and %d test images in %s\n", o.train, o.test, o.out)
}

// generate writes both files. The test images are generated first, so that they depend only
// on their own number.
func generate(o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	rows := shapes.New(o.seed)
	if err := writeRows(filepath.Join(o.out, testFile), o.test, rows); err != nil {
		return err
	}
	return writeRows(filepath.Join(o.out, trainFile), o.train, rows)
}

// writeRows writes a file of the next n rows.
func writeRows(path string, n int, rows *shapes.Generator) error {
	w, err := data.Create(path)
	if err != nil {
		return err
	}
	if err := rows.WriteRows(w, n); err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

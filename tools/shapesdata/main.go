// Command shapesdata writes the demo's data set: small pictures of coloured shapes
// with questions and answers, as FineVision-schema parquet.
//
//	go run ./tools/shapesdata --out demo/data
//
// The same flags give the same bytes. No test picture occurs in train.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"patchwork/vlm/data"
)

// The files that generate writes.
const (
	trainFile = "train-00000-of-00001.parquet"
	testFile  = "test-00000-of-00001.parquet"
)

type options struct {
	out         string
	train, test int // pictures
	seed        uint64
}

func main() {
	var o options
	pflag.StringVar(&o.out, "out", "", "folder for the two parquet files")
	pflag.IntVar(&o.train, "train", 16000, "pictures to train on")
	pflag.IntVar(&o.test, "test", 500, "pictures to test on")
	pflag.Uint64Var(&o.seed, "seed", 1, "seed of the random pictures")
	pflag.Parse()
	if o.out == "" || o.train < 1 || o.test < 1 || pflag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "usage: shapesdata --out DIR [flags]\n", pflag.CommandLine.FlagUsages())
		os.Exit(2)
	}
	if err := generate(o); err != nil {
		fmt.Fprintln(os.Stderr, "shapesdata:", err)
		os.Exit(1)
	}
	fmt.Printf("%d pictures to train on and %d to test on in %s\n", o.train, o.test, o.out)
}

// generate writes both files. The test pictures come first, so that their number
// alone decides what they are.
func generate(o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	seen := map[[sha256.Size]byte]bool{}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	if err := writeRows(filepath.Join(o.out, testFile), o.test, rng, seen); err != nil {
		return err
	}
	return writeRows(filepath.Join(o.out, trainFile), o.train, rng, seen)
}

// writeRows writes n rows whose pictures are not among those seen.
func writeRows(path string, n int, rng *rand.Rand, seen map[[sha256.Size]byte]bool) error {
	w, err := data.Create(path)
	if err != nil {
		return err
	}
	for range n {
		row, err := freshRow(rng, seen)
		if err == nil {
			err = w.Write(row)
		}
		if err != nil {
			w.Abort()
			return err
		}
	}
	return w.Close()
}

// freshRow draws until a picture is new; there are too many possible ones for that
// to take more than a few attempts.
func freshRow(rng *rand.Rand, seen map[[sha256.Size]byte]bool) (data.Row, error) {
	for range 100 {
		s := randomScene(rng)
		png, err := s.png()
		if err != nil {
			return data.Row{}, err
		}
		if hash := sha256.Sum256(png); !seen[hash] {
			seen[hash] = true
			return data.Row{Images: [][]byte{png}, Turns: s.questions(rng), Source: "shapesdata"}, nil
		}
	}
	return data.Row{}, errors.New("the generator repeats its pictures")
}

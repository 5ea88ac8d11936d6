// Command wordsdata writes the data set of the audio demo: words that a speech synthesiser says in
// many voices, as parquet files with the columns audios, texts and source.
//
//	go run ./tools/wordsdata --out demo-audio/data
//
// The voices of the test file are in no row of the training file. It needs espeak-ng. The same
// flags and the same espeak-ng give the same bytes.
//
//	go run ./tools/wordsdata --tokenizer vlm/pretrained/presets/words
//
// writes the tokenizer of the words preset instead.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"patchwork/vlm/data"
)

// Files of generate.
const (
	trainFile = "train-00000-of-00001.parquet"
	testFile  = "test-00000-of-00001.parquet"
)

// question is asked about every clip.
const question = "what word is it?"

type options struct {
	out         string
	tokenizer   string
	train, test int // clips of each word
	seed        uint64
}

func main() {
	var o options
	pflag.StringVar(&o.out, "out", "", "folder for the two parquet files")
	pflag.StringVar(&o.tokenizer, "tokenizer", "", "folder for the preset's tokenizer, which is written instead")
	pflag.IntVar(&o.train, "train", 100, "number of training clips of each word")
	pflag.IntVar(&o.test, "test", 20, "number of test clips of each word")
	pflag.Uint64Var(&o.seed, "seed", 1, "random seed")
	pflag.Parse()
	if (o.out == "") == (o.tokenizer == "") || o.train < 1 || o.test < 1 || pflag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "usage: wordsdata --out DIR [flags]\n", pflag.CommandLine.FlagUsages())
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "wordsdata:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.tokenizer != "" {
		return writeTokenizer(o.tokenizer)
	}
	if err := generate(o, espeak); err != nil {
		return err
	}
	fmt.Printf("%d training clips in %d voices and %d test clips in %d others in %s\n",
		o.train*len(words), len(trainVoices), o.test*len(words), len(testVoices), o.out)
	return nil
}

// generate writes both files.
func generate(o options, say synthesiser) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for i, f := range []struct {
		name   string
		voices []string
		clips  int
	}{{testFile, testVoices, o.test}, {trainFile, trainVoices, o.train}} {
		random := rand.New(rand.NewPCG(o.seed, uint64(i)))
		if err := writeRows(filepath.Join(o.out, f.name), utterances(random, f.voices, f.clips), say); err != nil {
			return err
		}
	}
	return nil
}

// writeRows has every utterance said and writes the rows in their order.
func writeRows(path string, all []utterance, say synthesiser) error {
	clips := make([][]byte, len(all))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, u := range all {
		group.Go(func() (err error) {
			clips[i], err = say(u)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	w, err := data.CreateWithSound(path)
	if err != nil {
		return err
	}
	for i, u := range all {
		row := data.Row{Clips: [][]byte{clips[i]}, Turns: []data.Turn{{User: question, Assistant: u.word}}, Source: u.voice}
		if err := w.Write(row); err != nil {
			w.Abort()
			return err
		}
	}
	return w.Close()
}

var errNoSynthesiser = errors.New("espeak-ng is not installed (on Debian: apt install espeak-ng)")

// Command goldensubset copies the part of a full golden directory that is small
// enough to be committed:
//
//	go run ./tools/goldensubset ../shared/golden testdata/golden
//
// It drops the largest cases of the operators, all but one attention mode of each tiny
// model, some cases and gradients of the tiny Gemma models, and all but one prompt's logits of the
// real decoder. Of Gemma it keeps the sound, the chat, and the files of the pictures, without their
// pixels.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"patchwork/nn/safetensors"
)

// opBytes is the maximum size of an operator's tensors.
const opBytes = 160 << 10

// modes are the attention modes that are kept.
var modes = map[string]string{
	"tiny_llama":        "document_bidirectional_image",
	"tiny_qwen3":        "document",
	"tiny_qwen3_untied": "seed",
}

// gemmaCases are the cases of Gemma's models that are kept.
var gemmaCases = map[string][]string{"tiny_gemma3": {"long", "short"}, "tiny_gemma4": {"pictures", "audio", "text_short"}}

// droppedLayers match the gradients of layers that are like others.
var droppedLayers = regexp.MustCompile(`^grad\..*\.layers\.(1|3|4|5|6)\.`)

// whole are files that are kept as they are.
var whole = []string{"gemma4_audio/*.json", "gemma4_audio/*.safetensors", "gemma4_chat/chat.jsonl", "gemma4_vision/index.json", "gemma4_vision/input/*.png"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: goldensubset FROM TO")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "goldensubset:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	if err := subsetOps(filepath.Join(from, "ops"), filepath.Join(to, "ops")); err != nil {
		return err
	}
	for model, mode := range modes {
		for _, name := range []string{"config.json", "inputs.safetensors", "model.safetensors", mode + ".safetensors"} {
			if err := copyFile(filepath.Join(from, model, name), filepath.Join(to, model, name)); err != nil {
				return err
			}
		}
	}
	for model, cases := range gemmaCases {
		if err := subsetGemma(filepath.Join(from, model), filepath.Join(to, model), cases); err != nil {
			return err
		}
	}
	for _, pattern := range whole {
		files, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s has no %s (%v)", from, pattern, err)
		}
		for _, file := range files {
			if err := copyFile(file, filepath.Join(to, filepath.Dir(pattern), filepath.Base(file))); err != nil {
				return err
			}
		}
	}
	return subsetDecoder(filepath.Join(from, "smollm2_logits"), filepath.Join(to, "smollm2_logits"))
}

// subsetGemma keeps some cases, with the gradients of the first layer and of the first without a
// window, and of the inputs what these cases need.
func subsetGemma(from, to string, cases []string) error {
	for _, name := range []string{"config.json", "config.transformers.json", "greedy.json", "model.safetensors"} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	for _, name := range append(cases, "inputs") {
		file, err := safetensors.Open(filepath.Join(from, name+".safetensors"))
		if err != nil {
			return err
		}
		defer file.Close()
		dropped := func(tensor string) bool {
			of, _, _ := strings.Cut(tensor, ".")
			return droppedLayers.MatchString(tensor) || name == "inputs" && !slices.Contains(cases, of)
		}
		if err := writeTensors(filepath.Join(to, name+".safetensors"), file, slices.DeleteFunc(file.Names(), dropped)); err != nil {
			return err
		}
	}
	return nil
}

// subsetDecoder keeps the losses, and the first prompt's logits.
func subsetDecoder(from, to string) error {
	for _, name := range []string{"config.json", "prompts.json", "text.json"} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	file, err := safetensors.Open(filepath.Join(from, "values.safetensors"))
	if err != nil {
		return err
	}
	defer file.Close()
	keep := slices.DeleteFunc(file.Names(), func(name string) bool {
		return strings.HasSuffix(name, ".logits") && name != "prompt0.logits"
	})
	return writeTensors(filepath.Join(to, "values.safetensors"), file, keep)
}

// writeTensors copies some of a file's tensors.
func writeTensors(path string, file *safetensors.File, names []string) error {
	var entries []safetensors.Entry
	for _, tensor := range names {
		entries = append(entries, entry(file, tensor))
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, nil, entries); err != nil {
		return err
	}
	return write(path, out.Bytes())
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(to, data)
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// index is ops/index.json; fields that are not used here are kept unchanged.
type index struct {
	About string               `json:"about"`
	Seed  json.RawMessage      `json:"seed"`
	Ops   map[string]*operator `json:"ops"`
}

type operator struct {
	File  string            `json:"file"`
	About string            `json:"about"`
	Cases []json.RawMessage `json:"cases"`
}

func subsetOps(from, to string) error {
	data, err := os.ReadFile(filepath.Join(from, "index.json"))
	if err != nil {
		return err
	}
	var all index
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, o := range all.Ops {
		if err := subsetOp(from, to, o); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	return write(filepath.Join(to, "index.json"), out.Bytes())
}

// subsetOp keeps the smallest cases of an operator, within opBytes.
func subsetOp(from, to string, o *operator) error {
	file, err := safetensors.Open(filepath.Join(from, o.File))
	if err != nil {
		return err
	}
	defer file.Close()
	keep := smallest(file)
	fmt.Printf("%s: %d of %d cases\n", o.File, len(keep), len(o.Cases))
	o.Cases = slices.DeleteFunc(o.Cases, func(c json.RawMessage) bool { return !slices.Contains(keep, nameOf(c)) })
	names := slices.DeleteFunc(file.Names(), func(tensor string) bool { return !slices.Contains(keep, caseOf(tensor)) })
	return writeTensors(filepath.Join(to, o.File), file, names)
}

// smallest are the names of the smallest cases of a file.
func smallest(file *safetensors.File) (keep []string) {
	size := map[string]int{}
	for _, tensor := range file.Names() {
		size[caseOf(tensor)] += bytesOf(file, tensor)
	}
	total := 0
	for _, name := range slices.SortedFunc(maps.Keys(size), func(a, b string) int {
		return cmp.Or(cmp.Compare(size[a], size[b]), cmp.Compare(a, b))
	}) {
		if total += size[name]; total > opBytes {
			break
		}
		keep = append(keep, name)
	}
	return keep
}

// caseOf is "case0" for "case0.dx".
func caseOf(tensor string) string {
	name, _, _ := strings.Cut(tensor, ".")
	return name
}

func nameOf(c json.RawMessage) string {
	var named struct{ Name string }
	if json.Unmarshal(c, &named) != nil {
		return ""
	}
	return named.Name
}

// bytesOf is the size of a tensor, whose elements all have 4 bytes here.
func bytesOf(file *safetensors.File, tensor string) int {
	t, _ := file.Tensor(tensor)
	n := 4
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

func entry(file *safetensors.File, tensor string) safetensors.Entry {
	t, _ := file.Tensor(tensor)
	return safetensors.Entry{Name: tensor, Shape: t.Shape, DType: t.DType, Values: func() (any, error) {
		if t.DType == "I32" {
			return file.Int32(tensor)
		}
		return file.Float32(tensor)
	}}
}

package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/shaders"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// heading is the annotation of a flag that has a heading in help.
const heading = "vlmtool_heading"

// Group declares flags under a heading in the command's help.
func Group(c *cobra.Command, title string, declare func(s *pflag.FlagSet)) {
	s := pflag.NewFlagSet(title, pflag.ContinueOnError)
	s.SortFlags = false
	declare(s)
	s.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{heading: {title}} })
	c.Flags().AddFlagSet(s)
}

// Values are a flag's fixed values, for completion; nil where it has none.
func Values(f *pflag.Flag) []string {
	if v, ok := f.Value.(interface{ Values() []string }); ok {
		return v.Values()
	}
	return nil
}

// choice is the value of a flag that takes one of a few words or, if several is set, some
// of them separated by commas.
type choice struct {
	words   []string
	one     *string
	several *[]string
	changed bool
}

func (c *choice) Values() []string { return c.words }

func (c *choice) Type() string {
	if c.several != nil {
		return "strings"
	}
	return "string"
}

func (c *choice) String() string {
	if c.one != nil {
		return *c.one
	}
	return strings.Join(*c.several, ",")
}

func (c *choice) Set(s string) error {
	given := []string{s}
	if c.several != nil {
		given = strings.Split(s, ",")
	}
	for i, word := range given {
		if current := packing.CurrentName(word); slices.Contains(c.words, current) {
			given[i] = current
			continue
		}
		want := "want " + usage.OneOf(c.words)
		if near := usage.Nearest(word, c.words); near != "" {
			want += "; did you mean " + near + "?"
		}
		return errors.New(want)
	}
	if c.one != nil {
		*c.one = given[0]
		return nil
	}
	if !c.changed {
		*c.several = nil
	}
	*c.several, c.changed = append(*c.several, given...), true
	return nil
}

// Choice adds a flag that takes one of a few words, which its usage lists.
func Choice(s *pflag.FlagSet, to *string, name, value, text string, words ...string) {
	*to = value
	s.Var(&choice{words: words, one: to}, name, text+": "+usage.OneOf(words))
}

// Choices adds a flag that takes some of a few words.
func Choices(s *pflag.FlagSet, to *[]string, name string, value []string, text string, words ...string) {
	*to = value
	s.Var(&choice{words: words, several: to}, name, text+": "+usage.OneOf(words)+"; separate several by commas")
}

// BOSFlag adds --bos.
func BOSFlag(s *pflag.FlagSet, to *string, prefix string) {
	Choice(s, to, "bos", vlm.BOSAuto, prefix+"prepend the beginning-of-sequence token (auto = as the tokenizer does)", vlm.BOSAuto, vlm.BOSYes, vlm.BOSNo)
}

// DTypes are the values of --dtype.
var DTypes = []string{"f32", "f16", "bf16"}

// Storage are the flags of commands that run a model: how it is stored on the device.
type Storage struct{ DType, Weights, Cache, Adapter, MMProj string }

// Declare adds --dtype, --weights, --cache, --adapter and --mmproj.
func (o *Storage) Declare(s *pflag.FlagSet) {
	o.DeclareDType(s)
	o.DeclareWeights(s)
	o.DeclareCache(s)
	s.StringVar(&o.Adapter, "adapter", "", "add the LoRA adapter in `DIR` to the model: the folder adapter of a run with --lora-rank")
	MMProjFlag(s, &o.MMProj)
}

// MMProjFlag declares --mmproj.
func MMProjFlag(s *pflag.FlagSet, path *string) {
	s.StringVar(path, "mmproj", "", "read the embedders of images and sound from `FILE`, llama.cpp's mmproj of a Gemma 4 whose GGUF file is --model")
}

// DeclareDType adds --dtype.
func (o *Storage) DeclareDType(s *pflag.FlagSet) {
	Choice(s, &o.DType, "dtype", "f32", "store activations, and weights that are not quantised, as `TYPE`, with f32 arithmetic", DTypes...)
}

// DeclareWeights adds --weights.
func (o *Storage) DeclareWeights(s *pflag.FlagSet) {
	Choice(s, &o.Weights, "weights", string(pretrained.WeightsAuto), "store the decoder's matrices as `TYPE` (auto = quantised ones as in the file)", pretrained.WeightsNames...)
}

// DeclareCache adds --cache.
func (o *Storage) DeclareCache(s *pflag.FlagSet) {
	Choice(s, &o.Cache, "cache", string(vlm.CacheAuto), "store keys and values of earlier tokens as `TYPE` (auto = as activations; q8_0 takes a quarter of f32)", vlm.CacheTypes...)
}

// Type is the type that --dtype names.
func (o Storage) Type() shaders.Type {
	t, _ := shaders.ParseType(o.DType) // the flag takes no other
	return t
}

// Options are the settings of the flags.
func (o Storage) Options() pretrained.LoadOptions {
	return pretrained.LoadOptions{Type: o.Type(), Weights: pretrained.Weights(o.Weights), Cache: vlm.CacheType(o.Cache), Adapter: o.Adapter, MMProj: o.MMProj}
}

// Check returns an error for flags that exclude each other.
func (o Storage) Check() error {
	if err := o.Options().Check(); err != nil {
		return usage.Error{Err: err}
	}
	return nil
}

// Empty reports whether a flag that can be repeated has no value.
func Empty(values []string) bool { return strings.Join(values, "") == "" }

// Ignored declares flags of a command's siblings that have no effect on it; they are
// accepted with a warning.
func Ignored(s *pflag.FlagSet, names ...string) {
	for _, name := range names {
		s.String(name, "", "")
		s.Lookup(name).Hidden = true
	}
}

// checkFlags rejects numbers that are not finite or too large.
func checkFlags(s *pflag.FlagSet) (err error) {
	s.Visit(func(f *pflag.Flag) {
		if err != nil {
			return
		}
		if x, e := strconv.ParseFloat(f.Value.String(), 64); f.Value.Type() == "float64" && (e != nil || math.IsNaN(x) || math.IsInf(x, 0)) {
			err = usage.Errorf("--%s is %s, want a finite number", f.Name, f.Value)
			return
		}
		err = checkLimit(f)
	})
	return err
}

// flagError rewrites an error of pflag for a user.
func flagError(c *cobra.Command, err error) error {
	for name, asked := range map[string]error{"help": pflag.ErrHelp, "version": errVersion} {
		if set, _ := c.Flags().GetBool(name); set {
			return asked
		}
	}
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		return usage.Error{Err: unknownFlag(c, unknown)}
	case errors.As(err, &invalid):
		return usage.Errorf("--%s is %q, %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	case errors.As(err, &missing):
		metavar, text := pflag.UnquoteUsage(missing.GetFlag())
		return usage.Errorf("--%s needs a value: %s, %s", missing.GetFlag().Name, metavar, text)
	}
	return usage.Errorf("%v; flags are written --name VALUE", err)
}

// wanted describes the values that a flag takes.
func wanted(invalid *pflag.InvalidValueError) string {
	if errors.Is(invalid, strconv.ErrRange) {
		return "which is too large"
	}
	switch invalid.GetFlag().Value.Type() {
	case "int":
		return "want a whole number"
	case "uint64":
		return "want a whole number, 0 or above"
	case "float64":
		return "want a number such as 0.5 or 3e-4"
	case "bool":
		return "want true or false"
	case "duration":
		return "want a duration such as 500ms, 30s or 2m"
	}
	return invalid.Unwrap().Error()
}

// unknownFlag names the nearest flag, else the commands that have such a flag.
func unknownFlag(c *cobra.Command, e *pflag.NotExistError) error {
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	name, dashes := e.GetSpecifiedName(), "--"
	if letters := e.GetSpecifiedShortnames(); letters != "" {
		name, dashes = letters, "-"
		if slices.Contains(known, letters) { // -steps
			return fmt.Errorf("unknown flag -%s; did you mean --%s?", letters, letters)
		}
	}
	text := "unknown flag " + dashes + name
	if near := usage.Nearest(name, known); near != "" {
		return errors.New(text + "; did you mean --" + near + "?")
	}
	var others []string
	for _, other := range Commands(c.Root()) {
		if other.LocalFlags().Lookup(name) != nil {
			others = append(others, commandName(other))
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("%s; it is a flag of %s", text, strings.Join(others, ", "))
	}
	return errors.New(text)
}

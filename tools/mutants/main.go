// Mutants plants small errors in the WGSL of every kernel, one at a time, and checks that
// the kernel's conformance cases detect each: "make mutants". It exits with 1 and lists the
// lines if one survives that engine/conformance/mutation/equivalent.txt does not declare.
//
//	mutants                        plant every error: an hour on two cores
//	mutants -count 200             a sample of 200, spread over all files
//	mutants -kernel 'softmax|sum'  the files whose name matches
//	mutants -cpu                   in the kernels' CPU forms instead
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"patchwork/engine/conformance/mutation"
	"patchwork/shaders/naga"
)

func main() {
	var o options
	flag.IntVar(&o.count, "count", 0, "plant `N` errors, spread over all files; 0 = every one")
	flag.StringVar(&o.kernel, "kernel", "", "only files whose name matches the `regexp`, such as softmax or include_exp")
	flag.IntVar(&o.workers, "workers", runtime.NumCPU(), "number of worker `processes`")
	flag.DurationVar(&o.limit, "limit", 2*time.Minute, "`time` after which a case counts as stopped")
	flag.BoolVar(&o.verbose, "v", false, "print every mutant")
	flag.StringVar(&o.again, "again", "", "only the survivors listed in `file`, the output of an earlier run")
	flag.BoolVar(&o.equivalent, "equivalent", false, "only the mutants declared equivalent, which are skipped otherwise")
	flag.BoolVar(&o.cpu, "cpu", false, "plant errors in the kernels' CPU forms instead (needs Go's compiler)")
	serving := flag.Bool("worker", false, "run as a worker that reads jobs from stdin (internal)")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	if *serving {
		err = serve(os.Stdin, os.Stdout)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

type options struct {
	count, workers int
	kernel, again  string
	limit          time.Duration
	verbose        bool
	equivalent     bool
	cpu            bool
}

// planted is a mutant with its variants and outcome.
type planted struct {
	mutation.Mutant
	key     string
	equal   bool // declared equivalent
	hosts   []string
	outcome mutation.Outcome
}

func run(ctx context.Context, o options) error {
	if o.workers < 1 || o.count < 0 {
		return errors.New("-workers must be at least 1 and -count not negative")
	}
	only, err := regexp.Compile(o.kernel)
	if err != nil {
		return fmt.Errorf("-kernel: %w", err)
	}
	if o.cpu {
		return runCPU(ctx, o, only)
	}
	_, missing := naga.Version()
	if missing != nil {
		fmt.Fprintln(os.Stderr, "mutants: without the variants for subgroups, which WebGPU does not compile:", missing)
	}
	all, keys, err := list(only, missing == nil)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no file matches -kernel %q", o.kernel)
	}
	all = slices.DeleteFunc(all, func(p planted) bool { return p.equal && !o.equivalent })
	if o.again != "" {
		if all, err = survivorsOf(o.again, all); err != nil {
			return err
		}
	}
	sample(&all, o.count)
	if err := tryAll(ctx, all, o); err != nil {
		return err
	}
	return report(all, mutation.Stale(keys))
}

// list returns the mutants of the matching files that some variant can run, and the keys of
// all mutants.
func list(only *regexp.Regexp, subgroups bool) (all []planted, keys []string, err error) {
	sources, err := mutation.Sources()
	if err != nil {
		return nil, nil, err
	}
	for i := range sources {
		s := &sources[i]
		var hosts []string
		for _, h := range s.Thorough() {
			if subgroups || !h.Subgroup() {
				hosts = append(hosts, h.ID())
			}
		}
		for j, key := range s.Keys {
			keys = append(keys, key)
			if only.MatchString(s.File) && len(hosts) > 0 {
				all = append(all, planted{Mutant: s.Mutants[j], key: key, equal: s.Equivalent(j), hosts: hosts})
			}
		}
	}
	return all, keys, nil
}

// survivorsOf keeps the mutants that an earlier run listed as survivors.
func survivorsOf(file string, all []planted) ([]planted, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if place, key, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && strings.HasPrefix(line, "  ") && strings.Contains(place, ".wgsl:") {
			listed[strings.TrimSpace(key)] = true
		}
	}
	kept := slices.DeleteFunc(all, func(p planted) bool { return !listed[p.key] })
	if len(kept) == 0 {
		return nil, fmt.Errorf("-again %s: its survivors no longer exist", file)
	}
	return kept, nil
}

// sample keeps count evenly spaced mutants.
func sample(all *[]planted, count int) {
	n := len(*all)
	if count == 0 || count >= n {
		return
	}
	kept := make([]planted, count)
	for i := range kept {
		kept[i] = (*all)[i*n/count]
	}
	*all = kept
}

func tryAll(ctx context.Context, all []planted, o options) error {
	group, ctx := errgroup.WithContext(ctx)
	next, done := make(chan *planted), make(chan *planted)
	group.Go(func() error {
		defer close(next)
		for i := range all {
			select {
			case next <- &all[i]:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range o.workers {
		group.Go(func() error {
			w := &worker{limit: o.limit}
			defer w.stop()
			for p := range next {
				var err error
				if p.outcome, err = w.try(ctx, job{p.hosts, p.Mutant}); err != nil {
					return err
				}
				select {
				case done <- p:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for i := range all {
			select {
			case p := <-done:
				if o.verbose {
					fmt.Printf("%-8s  %s\n", p.outcome, p.key)
				}
				fmt.Fprintf(os.Stderr, "\r%d of %d", i+1, len(all))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		return nil
	})
	return group.Wait()
}

// counts has a file's mutants by outcome.
type counts struct {
	file                                              string
	mutants, killed, invalid, stopped, declared, left int
}

func (t *counts) add(p planted) {
	t.mutants++
	switch {
	case p.outcome == mutation.Killed:
		t.killed++
	case p.outcome == mutation.Invalid:
		t.invalid++
	case p.outcome == mutation.Stopped:
		t.stopped++
	case p.equal:
		t.declared++
	default:
		t.left++
	}
}

func report(all []planted, stale []string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "mutants\tkilled\tstopped\tdid not compile\tequivalent\tsurvived\t  file")
	total := counts{file: "all"}
	var last *counts
	print := func(t *counts) {
		if t != nil {
			fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", t.mutants, t.killed, t.stopped, t.invalid, t.declared, t.left, t.file)
		}
	}
	var survivors, wrong []string
	for _, p := range all {
		if last == nil || last.file != p.File {
			print(last)
			last = &counts{file: p.File}
		}
		last.add(p)
		total.add(p)
		switch {
		case p.outcome == mutation.Survived && !p.equal:
			survivors = append(survivors, fmt.Sprintf("%s:%d  %s", p.File, p.Line, p.key))
		case p.outcome != mutation.Survived && p.equal:
			wrong = append(wrong, p.key)
		}
	}
	print(last)
	print(&total)
	w.Flush()
	explain("These mutants survived. Add a case that detects them, or declare them equivalent with a reason:", survivors)
	explain("These are declared equivalent, but were detected:", wrong)
	explain("These are declared equivalent, but no longer exist:", stale)
	if len(survivors)+len(stale) > 0 {
		return fmt.Errorf("%d of %d mutants survived, %d declared equivalents no longer exist", len(survivors), len(all), len(stale))
	}
	return nil
}

func explain(what string, keys []string) {
	if len(keys) == 0 {
		return
	}
	fmt.Println("\n" + what)
	for _, k := range keys {
		fmt.Println("  " + k)
	}
}

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"text/template"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"patchwork/internal/durable"
)

//go:embed page.md
var pageText string

// writePage writes the page with its tables.
func (s *study) writePage(path, figure string) error {
	image, err := filepath.Rel(filepath.Dir(path), figure)
	if err != nil {
		return err
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	var tables, text bytes.Buffer
	for _, data := range s.data {
		s.writeTable(&tables, data.name)
	}
	s.writeLanguage(&text)
	var page bytes.Buffer
	err = t.Execute(&page, map[string]any{
		"Figure": filepath.ToSlash(image), "Tables": tables.String(), "Language": text.String(), "Seeds": s.seeds, "Note": s.note, "DecoderSteps": s.decoderSteps,
	})
	if err != nil {
		return err
	}
	return durable.Replace(path, page.Bytes())
}

func (s *study) writeTable(w io.Writer, data string) {
	own := s.of(data, systems[0].name)[0]
	fmt.Fprintf(w, "\n**%s**: %s questions, %s GFLOP a run\n\n", data, count(float64(own.Scores.Turns)), count(float64(own.Steps)*own.FlopsPerStep/1e9))
	fmt.Fprintln(w, "| system | exact match, % | with another image, % | NLL | with another image | parameters | GFLOP a step | steps | first token, ms |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for _, system := range systems {
		runs := s.of(data, system.name)
		column := func(scale float64, digits int, of func(r result) float64) string {
			return meanAndSpread(runs, scale, digits, of)
		}
		fmt.Fprintf(w, "| `%s`: %s | %s | %s | %s | %s | %s | %.2f | %s | %.1f |\n", system.name, system.title,
			column(100, 1, func(r result) float64 { return r.Scores.ExactMatch }), column(100, 1, func(r result) float64 { return r.Shuffled.ExactMatch }),
			column(1, 3, func(r result) float64 { return r.Scores.NLL }), column(1, 3, func(r result) float64 { return r.Shuffled.NLL }),
			count(float64(runs[0].Parameters)), runs[0].FlopsPerStep/1e9, count(float64(runs[0].Steps)), s.first[system.name])
	}
}

// meanAndSpread is the mean of the seeds, and in parentheses their least and largest value.
func meanAndSpread(runs []result, scale float64, digits int, of func(r result) float64) string {
	lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
	for _, r := range runs {
		v := scale * of(r)
		lo, hi, sum = min(lo, v), max(hi, v), sum+v
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, sum/float64(len(runs)), digits, lo, digits, hi)
}

func (s *study) writeLanguage(w io.Writer) {
	if len(s.language) == 0 {
		return
	}
	fmt.Fprintln(w, "| | NLL of text | NLL of captions | with another image |")
	fmt.Fprintln(w, "|---|---|---|---|")
	for _, r := range s.language {
		if r.Image.Turns == 0 {
			fmt.Fprintf(w, "| %s | %.5f | | |\n", r.title, r.Text)
			continue
		}
		fmt.Fprintf(w, "| %s | %.5f | %.3f | %.3f |\n", r.title, r.Text, r.Image.NLL, r.Blind.NLL)
	}
}

// count writes 20000 as "20,000".
func count(n float64) string { return message.NewPrinter(language.English).Sprintf("%.0f", n) }

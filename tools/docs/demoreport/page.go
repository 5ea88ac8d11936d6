package main

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"

	"patchwork/internal/durable"
)

//go:embed page.html
var pageText string

//go:embed sound.html
var soundText string

//go:embed parts.html
var partsText string

var (
	page      = parsePage(pageText)
	soundPage = parsePage(soundText)
)

// parsePage parses a page with the parts that pages share.
func parsePage(text string) *template.Template {
	return template.Must(template.Must(template.New("page").Funcs(functions).Parse(partsText)).Parse(text))
}

var functions = template.FuncMap{
	"percent":  percent,
	"duration": duration,
	"number":   func(n any) string { return thousands(toInt64(n)) },
	"data": func(png []byte) template.URL {
		return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))
	},
	"wav": func(file []byte) template.URL {
		return template.URL("data:audio/wav;base64," + base64.StdEncoding.EncodeToString(file))
	},
	"family": family,
	"width":  func(fraction float64) float64 { return 100 * fraction },
}

func toInt64(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case float64:
		return int64(n + 0.5)
	}
	return 0
}

// bar is a row of the page's first chart.
type bar struct {
	Name, About string
	Fraction    float64
	Main        bool
}

// writePage writes the report as one self-contained HTML file.
func writePage(path string, r *report) error {
	var out bytes.Buffer
	err := page.Execute(&out, struct {
		*report
		Curve curve
		Bars  []bar
	}{r, newCurve(r.Train, r.Val), []bar{
		{"the model", "with the image", r.All.Model, true},
		{"most frequent answer", "to each question, from the training data", r.All.Baseline, false},
		{"the model, white images", "--control blank", r.All.Blank, false},
		{"the model, other samples’ images", "--control shuffled", r.All.Shuffled, false},
	}})
	if err != nil {
		return err
	}
	return durable.Replace(path, out.Bytes())
}

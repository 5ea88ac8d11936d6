package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

var manCommand = command{
	name: "man", usage: "DIR", about: "write a man page for every command",
	text: "Writes vlmtool.1 and a page for every command into a folder, which it makes where it is not there.",
	examples: []example{
		{"vlmtool man ~/.local/share/man/man1", "man vlmtool-train then shows one"},
		{"vlmtool man /tmp/pages", "man /tmp/pages/vlmtool.1"},
	},
	args: positional{metavar: "DIR", most: 1},
	declare: func(a *app) action {
		return func(context.Context) error { return a.writePages(a.flags.Arg(0)) }
	},
}

func (a *app) writePages(dir string) error {
	if dir == "" {
		return usagef("DIR is missing: the folder that receives the pages")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pages := map[string]func(io.Writer){"vlmtool.1": overviewPage}
	for _, c := range everyCommand() {
		pages[c.page()+".1"] = func(w io.Writer) { commandPage(w, c) }
	}
	for name, write := range pages {
		var page bytes.Buffer
		write(&page)
		if err := os.WriteFile(filepath.Join(dir, name), page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if a.json {
		return a.result(map[string]any{"pages": len(pages), "out": dir})
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%d pages are in %s\n", len(pages), printable(dir))
	}
	return nil
}

// pageHead begins a page. Without a commit's day the pages are of the day that no
// page is of, so that the same source gives the same bytes.
func pageHead(w io.Writer, name, about string) {
	day := commitDay()
	if day == "" {
		day = "1970-01-01"
	}
	fmt.Fprintf(w, ".\\\" written by vlmtool man\n.TH %s 1 %s \"vlmtool %s\" \"vlmtool\"\n.SH NAME\n%s \\- %s\n",
		roff(strings.ToUpper(name)), day, roff(source().Version), roff(name), roff(about))
}

func overviewPage(w io.Writer) {
	pageHead(w, "vlmtool", "train and ask vision-language models without an image encoder")
	fmt.Fprint(w, ".SH SYNOPSIS\n.B vlmtool\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n")
	fmt.Fprintf(w, "%s\n.SH COMMANDS\n", paragraph(tagline))
	for _, c := range everyCommand() {
		fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s\n", roff(c.page()), paragraph(c.about))
	}
	pageFoot(w)
}

func commandPage(w io.Writer, c command) {
	pageHead(w, c.page(), c.about)
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B vlmtool %s\n%s\n.SH DESCRIPTION\n%s\n", roff(c.name), paragraph(c.usage), paragraph(c.text))
	if len(c.subs) > 0 {
		fmt.Fprint(w, ".SH COMMANDS\n")
		for _, sub := range c.subs {
			fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s\n", roff(sub.page()), roff(sub.about))
		}
	}
	fmt.Fprint(w, ".SH OPTIONS\n")
	c.described().eachGroup(func(title string, flags []*pflag.Flag) {
		fmt.Fprintf(w, ".SS %s\n", roff(title))
		for _, f := range flags {
			_, text := describe(f)
			fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(flagName(f)), paragraph(text))
		}
	})
	fmt.Fprint(w, ".SH EXAMPLES\n")
	for _, e := range c.examples {
		fmt.Fprint(w, ".TP\n")
		if e.about == "" {
			e.about = c.about
		}
		fmt.Fprintf(w, "%s\n.nf\n%s\n.fi\n", roff(e.about), roff(e.line))
	}
	pageFoot(w)
}

func pageFoot(w io.Writer) {
	fmt.Fprint(w, ".SH EXIT STATUS\n")
	for _, e := range exitCodes {
		fmt.Fprintf(w, ".TP\n.B %d\n%s\n", e.code, roff(e.when))
	}
	fmt.Fprint(w, ".SH SEE ALSO\n")
	all := []string{"vlmtool"}
	for _, c := range commands {
		all = append(all, c.page())
	}
	for i, page := range all {
		comma := ","
		if i == len(all)-1 {
			comma = ""
		}
		fmt.Fprintf(w, ".BR %s (1)%s\n", roff(page), comma)
	}
}

// paragraph is a text for roff in lines of less than 80 bytes.
func paragraph(s string) string {
	var lines []string
	for line := range strings.Lines(wrapped(roff(s), 0, 76)) {
		if strings.HasPrefix(line, ".") { // roff would take it for a request
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// roff writes a text so that roff shows it as it is, on one line.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '"':
			b.WriteString(`\(dq`)
		case r == '`':
			b.WriteString("\\(ga")
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r > 126:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	if text := b.String(); !strings.HasPrefix(text, ".") {
		return text
	}
	return `\&` + b.String()
}

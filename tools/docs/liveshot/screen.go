package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

// escape matches the escape sequences of vlmtool: colors, and the erasure of a line.
var escape = regexp.MustCompile(`\x1b\[([0-9]*)([mK])`)

// screen is the HTML of a terminal's last lines after an output.
func screen(sent string, lines int) string {
	all := strings.Split(strings.ReplaceAll(sent, "\r\n", "\n"), "\n")
	for i, line := range all {
		// vlmtool erases a line before it redraws it.
		if at := strings.LastIndex(line, "\r\x1b[K"); at >= 0 {
			all[i] = line[at:]
		}
	}
	var out strings.Builder
	for _, line := range all[max(0, len(all)-lines):] {
		out.WriteString(colored(line) + "\n")
	}
	return out.String()
}

// colored turns a line's colors into spans.
func colored(line string) string {
	var out strings.Builder
	open, from := 0, 0
	line = strings.ReplaceAll(line, "\r", "")
	for _, m := range escape.FindAllStringSubmatchIndex(line, -1) {
		out.WriteString(html.EscapeString(line[from:m[0]]))
		from = m[1]
		switch code := line[m[2]:m[3]]; {
		case line[m[4]:m[5]] == "K":
		case code == "0":
			out.WriteString(strings.Repeat("</span>", open))
			open = 0
		default:
			fmt.Fprintf(&out, `<span class="c%s">`, code)
			open++
		}
	}
	return out.String() + html.EscapeString(line[from:]) + strings.Repeat("</span>", open)
}

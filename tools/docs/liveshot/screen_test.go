package main

import "testing"

func TestScreen(t *testing.T) {
	for _, c := range []struct {
		sent  string
		lines int
		want  string
	}{
		{"", 3, "\n"},
		{"one\r\ntwo\r\nthree", 2, "two\nthree\n"},
		{"a <b>\r\n", 2, "a &lt;b&gt;\n\n"},
		{"\r\x1b[K10%\r\x1b[K20%\r\x1b[Kdone\r\nnext", 5, "done\nnext\n"},
		{"\r\x1b[K\x1b[34m██\x1b[0m\x1b[2m░\x1b[0m \x1b[1mloss\x1b[0m", 1, `<span class="c34">██</span><span class="c2">░</span> <span class="c1">loss</span>` + "\n"},
		{"\x1b[31mopen", 1, `<span class="c31">open</span>` + "\n"},
	} {
		if got := screen(c.sent, c.lines); got != c.want {
			t.Errorf("%q:\n%q\n%q", c.sent, got, c.want)
		}
	}
}

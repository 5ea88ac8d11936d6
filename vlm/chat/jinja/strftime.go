package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// strftime is Python's datetime.strftime of a naive time, with glibc in the C locale.
func (r *run) strftime(t time.Time, format string) (string, error) {
	out := &sink{r: r}
	for format != "" {
		before, rest, found := strings.Cut(format, "%")
		if err := out.write(before); err != nil {
			return "", err
		}
		if !found {
			break
		}
		text, n := dateField(t, rest)
		if err := out.write(text); err != nil {
			return "", err
		}
		format = rest[n:]
	}
	return out.b.String(), nil
}

// dateField formats the field after a percent sign and returns the length of its format.
// Flags: - no padding, _ spaces, 0 zeros, ^ upper case, # opposite case.
func dateField(t time.Time, s string) (string, int) {
	n := len(s) - len(strings.TrimLeft(s, "-_0^#"))
	flags := s[:n]
	width, rest := leadingNumber(s[n:])
	if width > 1<<10 {
		return "%", 0
	}
	n = len(s) - len(rest)
	if rest != "" && (rest[0] == 'E' || rest[0] == 'O') && len(rest) > 1 {
		rest = rest[1:]
		n++
	}
	if rest == "" {
		return "%" + s, len(s)
	}
	if rest[0] == 'f' && n == 0 {
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), 1
	}
	number, digits, pad, isNumber := dateNumber(t, rest[0])
	text := ""
	if isNumber {
		text = paddedNumber(number, digits, pad, flags, width)
	} else {
		var ok bool
		if text, ok = dateText(t, rest[0]); !ok {
			return "%" + s[:n+1], n + 1
		}
		text = casedField(text, rest[0], flags)
		fill := " "
		if strings.Contains(flags, "0") {
			fill = "0"
		}
		text = strings.Repeat(fill, max(0, width-len(text))) + text
	}
	return text, n + 1
}

func casedField(text string, field byte, flags string) string {
	switch {
	case strings.Contains(flags, "#") && field == 'p':
		return strings.ToLower(text)
	case strings.ContainsAny(flags, "^#"):
		return strings.ToUpper(text)
	}
	return text
}

func paddedNumber(number, digits int, pad byte, flags string, width int) string {
	for i := range len(flags) {
		switch flags[i] {
		case '-':
			digits = 0
		case '_':
			pad = ' '
		case '0':
			pad = '0'
		}
	}
	text := strconv.Itoa(number)
	return strings.Repeat(string(pad), max(0, max(width, digits)-len(text))) + text
}

func dateNumber(t time.Time, field byte) (number, digits int, pad byte, ok bool) {
	isoYear, isoWeek := t.ISOWeek()
	weekday, hour12 := int(t.Weekday()), (t.Hour()+11)%12+1
	switch field {
	case 'C':
		return t.Year() / 100, 2, '0', true
	case 'd':
		return t.Day(), 2, '0', true
	case 'e':
		return t.Day(), 2, ' ', true
	case 'g':
		return isoYear % 100, 2, '0', true
	case 'G':
		return isoYear, 0, '0', true
	case 'H':
		return t.Hour(), 2, '0', true
	case 'I':
		return hour12, 2, '0', true
	case 'j':
		return t.YearDay(), 3, '0', true
	case 'k':
		return t.Hour(), 2, ' ', true
	case 'l':
		return hour12, 2, ' ', true
	case 'm':
		return int(t.Month()), 2, '0', true
	case 'M':
		return t.Minute(), 2, '0', true
	case 's':
		return int(t.Unix()), 0, '0', true
	case 'S':
		return t.Second(), 2, '0', true
	case 'u':
		return (weekday+6)%7 + 1, 1, '0', true
	case 'U':
		return (t.YearDay() + 6 - weekday) / 7, 2, '0', true
	case 'V':
		return isoWeek, 2, '0', true
	case 'w':
		return weekday, 1, '0', true
	case 'W':
		return (t.YearDay() + 6 - (weekday+6)%7) / 7, 2, '0', true
	case 'y':
		return t.Year() % 100, 2, '0', true
	case 'Y':
		return t.Year(), 0, '0', true
	}
	return 0, 0, 0, false
}

func dateText(t time.Time, field byte) (string, bool) {
	layouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'D': "01/02/06",
		'F': "2006-01-02", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05",
	}
	if layout, ok := layouts[field]; ok {
		return t.Format(layout), true
	}
	switch field {
	case 'P':
		return strings.ToLower(t.Format("PM")), true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case '%':
		return "%", true
	case 'z', 'Z': // empty for a naive time
		return "", true
	}
	return "", false
}

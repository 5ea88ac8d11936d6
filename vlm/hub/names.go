package hub

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"patchwork/internal/folderlock"
)

// longestName bounds a file's name, in bytes: Linux takes 4096 with the folder.
const maxNameBytes = 1024

// inside reports whether a name of a listing lies in the folder that receives it,
// whatever the system takes for a separator.
func isLocalName(name string) bool {
	return len(name) <= maxNameBytes && filepath.IsLocal(filepath.FromSlash(name)) && !strings.Contains(name, `\`) && path.Clean(name) == name
}

// checkName says why a file cannot have its name here, "" if it can. What some system
// cannot write is refused on all, since there it would be another file's name.
func checkName(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, isUnprintable) {
		return "it holds control characters"
	}
	for part := range strings.SplitSeq(name, "/") {
		stem, _, _ := strings.Cut(part, ".")
		switch {
		case len(part) > 255-len(".0123456789ab.part"):
			return "it is too long"
		case strings.ContainsAny(part, `:*?"<>|`):
			return `it holds one of : * ? " < > |`
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || strings.HasPrefix(part, " "):
			return "it begins or ends with a space, or ends with a dot"
		case isDeviceName(strings.TrimRight(stem, " ")):
			return "Windows has a device of that name"
		}
	}
	if strings.EqualFold(name, folderlock.Name) {
		return "the folder's lock has that name"
	}
	return ""
}

// unseen is true of characters that move the cursor, end a line or turn its direction.
func isUnprintable(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) || r == utf8.RuneError
}

// device reports whether Windows takes a name, whatever stands behind its dot, for a device.
func isDeviceName(stem string) bool {
	stem = strings.ToUpper(stem)
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, port); ok && utf8.RuneCountInString(n) == 1 && strings.ContainsAny(n, "0123456789¹²³") {
			return true
		}
	}
	return false
}

// checkNames refuses files that cannot lie beside each other under their names.
func checkNames(r Repo, files []File) error {
	folders, names := map[string]string{}, map[string]string{}
	for _, f := range files {
		if why := checkName(f.Path); why != "" {
			return &NameError{r, f.Path, why}
		}
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if other, ok := folders[foldCase(dir)]; ok && other != dir {
				return &NameError{r, f.Path, "some systems do not tell its folder from " + printable(other)}
			}
			folders[foldCase(dir)] = dir
		}
	}
	for _, f := range files {
		if other, ok := names[foldCase(f.Path)]; ok {
			return &NameError{r, f.Path, "some systems do not tell it from " + printable(other)}
		}
		if dir, ok := folders[foldCase(f.Path)]; ok {
			return &NameError{r, f.Path, "a folder is called " + printable(dir)}
		}
		names[foldCase(f.Path)] = f.Path
	}
	for _, f := range files {
		if other, ok := names[foldCase(partName(f.Path, f.version(r)))]; ok {
			return &NameError{r, other, "the beginning of " + printable(f.Path) + " has that name while it arrives"}
		}
	}
	return nil
}

// folded is what names have in common that macOS or Windows takes for one.
func foldCase(name string) string { return strings.ToLower(strings.ToUpper(norm.NFC.String(name))) }

// partName is the name of a file's beginning. The sum keeps those of other versions apart.
func partName(path, sum string) string { return path + "." + sum[:min(12, len(sum))] + ".part" }

// NameError is a file of a listing that is not written under its name.
type NameError struct {
	Repo   Repo
	Name   string
	Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s lists a file called %s: %s; nothing was fetched; --exclude leaves it out", e.Repo, printable(e.Name), e.Reason)
}

// address is an address as it may be printed: without the password that may be in it.
func printableURL(s string) string {
	if u, err := url.Parse(s); err == nil {
		s = u.Redacted()
	}
	return printable(s)
}

// shown is what a hub says as it may be printed: quoted where it is more than plain text,
// and cut where it is long.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

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

// maxNameBytes limits a file's path in a repository. Linux allows 4096 bytes including the
// folder.
const maxNameBytes = 1024

// isLocalName reports whether a name in a listing stays in the output folder, with either
// path separator.
func isLocalName(name string) bool {
	return len(name) <= maxNameBytes && filepath.IsLocal(filepath.FromSlash(name)) && !strings.Contains(name, `\`) && path.Clean(name) == name
}

// checkName returns why a name is not allowed, or "". A name that any system cannot write is
// rejected on all of them, since there it would be another file's name.
func checkName(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, isUnprintable) {
		return "it contains control characters"
	}
	for part := range strings.SplitSeq(name, "/") {
		stem, _, _ := strings.Cut(part, ".")
		switch {
		case len(part) > 255-len(".0123456789ab.part"):
			return "it is too long"
		case strings.ContainsAny(part, `:*?"<>|`):
			return `it contains one of : * ? " < > |`
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || strings.HasPrefix(part, " "):
			return "it starts or ends with a space, or ends with a dot"
		case isDeviceName(strings.TrimRight(stem, " ")):
			return "it is the name of a device on Windows"
		}
	}
	if strings.EqualFold(name, folderlock.Name) {
		return "it is the name of the folder's lock"
	}
	return ""
}

// isUnprintable reports whether r moves the cursor, ends a line or changes its direction.
func isUnprintable(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) || r == utf8.RuneError
}

// isDeviceName reports whether a name, with any extension, is a device on Windows.
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

// checkNames returns a *NameError if a name is not allowed or names collide on some system.
func checkNames(r Repo, files []File) error {
	folders, names := map[string]string{}, map[string]string{}
	for _, f := range files {
		if why := checkName(f.Path); why != "" {
			return &NameError{r, f.Path, why}
		}
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if other, ok := folders[foldCase(dir)]; ok && other != dir {
				return &NameError{r, f.Path, "on some systems its folder is the same as " + printable(other)}
			}
			folders[foldCase(dir)] = dir
		}
	}
	for _, f := range files {
		if other, ok := names[foldCase(f.Path)]; ok {
			return &NameError{r, f.Path, "on some systems it is the same as " + printable(other)}
		}
		if dir, ok := folders[foldCase(f.Path)]; ok {
			return &NameError{r, f.Path, "there is a folder named " + printable(dir)}
		}
		names[foldCase(f.Path)] = f.Path
	}
	for _, f := range files {
		if other, ok := names[foldCase(partName(f.Path, f.version(r)))]; ok {
			return &NameError{r, other, "it is the name of " + printable(f.Path) + " during its download"}
		}
	}
	return nil
}

// foldCase maps names that are the same on macOS or Windows to the same string.
func foldCase(name string) string { return strings.ToLower(strings.ToUpper(norm.NFC.String(name))) }

// partName returns the name of a partial download. sum distinguishes versions of the file.
func partName(path, sum string) string { return path + "." + sum[:min(12, len(sum))] + ".part" }

// NameError reports a file whose name is not allowed.
type NameError struct {
	Repo   Repo
	Name   string
	Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%s lists a file named %s: %s; nothing was fetched; add --exclude to skip it", e.Repo, printable(e.Name), e.Reason)
}

// printableURL returns a URL without its password, for a message.
func printableURL(s string) string {
	if u, err := url.Parse(s); err == nil {
		s = u.Redacted()
	}
	return printable(s)
}

// printable returns text from the hub for a message: truncated if it is long, and quoted if
// it has unprintable characters.
func printable(s string) string {
	const limit = 200 // bytes
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

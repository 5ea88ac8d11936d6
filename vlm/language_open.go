package vlm

// OpenLanguage reads how a model reads and writes text, without its weights: that of a
// model's folder, or of a bare decoder as OpenPretrained takes it.
func OpenLanguage(path string) (*Language, error) {
	bare, err := isDecoder(path)
	if err != nil {
		return nil, err
	}
	if !bare {
		c, err := ReadConfig(path)
		if err != nil {
			return nil, err
		}
		return loadLanguage(path, c.Vision.Patches())
	}
	p, err := OpenPretrained(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Language(0)
}

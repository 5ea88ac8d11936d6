package chat

// Render renders a conversation with the encoder's template, for comparison with the golden texts.
func (e *Encoder) Render(messages []Message, o Options) (string, error) {
	return e.template.Render(messages, o)
}

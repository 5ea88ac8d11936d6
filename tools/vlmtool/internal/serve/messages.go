package serve

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/image"
	"patchwork/vlm/packing"
)

// Limits of conversations.
const (
	maxMessages = 1024
	maxText     = 4 << 20 // bytes of all messages
	maxImages   = 32
	maxPixels   = 4 * image.MaxPixels // of all images
	maxClips    = 8
)

// message is a message of OpenAI's API.
type message struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Reasoning  *string         `json:"reasoning_content"`
	ToolCalls  []toolCall      `json:"tool_calls"`
	ToolCallID *string         `json:"tool_call_id"`
}

// part is a part of a message's content.
type part struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	ImageURL *struct {
		URL *string `json:"url"`
	} `json:"image_url"`
	InputAudio *struct {
		Data   *string `json:"data"`
		Format string  `json:"format"`
	} `json:"input_audio"`
}

// conversation is messages with their images and sound, prepared for the model.
type conversation struct {
	messages []chat.Message
	images   [][]byte
	sizes    [][2]int // width and height of each image, upright, before it was resized
	first    int      // images of the request before those
	clips    [][]float32

	server *server
	text   int // bytes
	pixels int
	media  int // tokens of images and sound
}

// conversation reads messages. Images that a client names by a URL are never fetched.
func (s *server) conversation(all []message) (*conversation, error) {
	switch n := len(all); {
	case n == 0:
		return nil, invalid("messages", "Invalid 'messages': empty array. Expected an array with minimum length 1.").withCode("empty_array")
	case n > maxMessages:
		return nil, invalid("messages", "Invalid 'messages': %d messages, at most %d are taken.", n, maxMessages).withCode("array_above_max_length")
	}
	c := &conversation{server: s}
	for i, m := range all {
		if err := c.add(m, fmt.Sprintf("messages[%d]", i)); err != nil {
			return nil, err
		}
	}
	if s.model.Config.Turns == packing.SharedPrefix {
		c.lastQuestion()
	}
	return c, nil
}

// lastQuestion leaves what a model is asked whose training had every question without the others: the
// system message, the last question, and the images and sound of the last message that has some.
func (c *conversation) lastQuestion() {
	last := len(c.messages) - 1
	for last > 0 && c.messages[last].Role != "user" {
		last--
	}
	question := c.messages[last]
	images, sizes, clips, first := c.images, c.sizes, c.clips, 0
	var out []chat.Message
	for i, m := range c.messages[:last+1] {
		if m.Role == "system" && i < last {
			out = append(out, m)
		}
		if m.Images+len(m.Clips) > 0 {
			c.images, c.sizes, c.clips, c.first = images[:m.Images], sizes[:m.Images], clips[:len(m.Clips)], first
			question.Images, question.Grids, question.Clips = m.Images, m.Grids, m.Clips
		}
		images, sizes, clips, first = images[m.Images:], sizes[m.Images:], clips[len(m.Clips):], first+m.Images
	}
	c.messages = append(out, question)
}

// add reads one message; at is its place, for errors.
func (c *conversation) add(m message, at string) error {
	out := chat.Message{Role: m.Role}
	switch m.Role {
	case "developer":
		out.Role = "system"
	case "system", "user", "assistant", "tool":
	case "":
		return invalid(at+".role", "Missing required parameter: '%s.role'.", at).withCode("missing_required_parameter")
	default:
		return invalid(at+".role", "Invalid value: %.40q. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'.", m.Role).withCode("invalid_value")
	}
	var err error
	if out.ToolCalls, err = templateCalls(m.ToolCalls, at); err != nil {
		return err
	}
	if m.Reasoning != nil && m.Role == "assistant" {
		out.Reasoning = *m.Reasoning
	}
	switch {
	case (len(m.ToolCalls) > 0 || m.Role == "tool") && !c.server.model.Processor.Template().CallsTools():
		return invalid(at, "the model's chat template does not know tools").withCode("unsupported_value")
	case len(m.ToolCalls) > 0 && m.Role != "assistant":
		return invalid(at+".tool_calls", "only messages of the assistant have 'tool_calls'.").withCode("invalid_value")
	case absent(m.Content) && m.Role == "assistant":
	case absent(m.Content):
		return invalid(at+".content", "Missing required parameter: '%s.content'.", at).withCode("missing_required_parameter")
	default:
		if err := c.content(&out, m.Content, at+".content"); err != nil {
			return err
		}
	}
	if c.text += len(out.Content) + len(out.Reasoning) + len(out.ToolCalls); c.text > maxText {
		return invalid("messages", "the messages have more than %d MiB of text", maxText>>20).withCode("string_above_max_length")
	}
	c.messages = append(c.messages, out)
	return nil
}

// content reads a text, or parts: images come before the text, as in training, and sound where it is.
func (c *conversation) content(m *chat.Message, raw json.RawMessage, at string) error {
	if json.Unmarshal(raw, &m.Content) == nil {
		return nil
	}
	var parts []part
	if err := json.Unmarshal(raw, &parts); err != nil {
		return invalid(at, "Invalid type for '%s': expected a string or an array of parts.", at).withCode("invalid_type")
	}
	var text strings.Builder
	literal := false // a text looks like the place of sound
	for i, p := range parts {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case p.Type == "text" && p.Text != nil:
			text.WriteString(*p.Text)
			literal = literal || strings.Contains(*p.Text, chat.AudioToken)
		case p.Type == "text":
			return missing(at + ".text")
		case p.Type != "image_url" && p.Type != "input_audio":
			return invalid(at+".type", "Invalid value: %.40q. Supported values are: 'text', 'image_url', and 'input_audio'.", p.Type).withCode("invalid_value")
		case m.Role != "user":
			return invalid(at, "only messages of the user have images and sound").withCode("invalid_value")
		case p.Type == "image_url":
			if err := c.image(m, p, at+".image_url"); err != nil {
				return err
			}
		default:
			if err := c.clip(m, p, at+".input_audio"); err != nil {
				return err
			}
			text.WriteString(chat.AudioToken)
		}
	}
	if literal && len(m.Clips) > 0 {
		return invalid(at, "a text has %s, which is the place of sound", chat.AudioToken).withCode("invalid_value")
	}
	m.Content = text.String()
	return nil
}

func missing(param string) error {
	return invalid(param, "Missing required parameter: '%s'.", param).withCode("missing_required_parameter")
}

// image decodes an image_url.
func (c *conversation) image(m *chat.Message, p part, at string) error {
	vision := c.server.model.Config.Vision
	switch {
	case p.ImageURL == nil || p.ImageURL.URL == nil:
		return missing(at + ".url")
	case vision.None():
		return invalid(at, "the model takes no images").withCode("unsupported_value")
	case len(c.images) >= maxImages:
		return invalid(at, "more than %d images", maxImages).withCode("array_above_max_length")
	}
	data, err := dataURL(*p.ImageURL.URL, at+".url")
	if err != nil {
		return err
	}
	bad := func(err error) error {
		return invalid(at+".url", "the image cannot be read: %v", err).withCode("invalid_image")
	}
	w, h, _, err := image.DecodeConfig(data)
	if err != nil {
		return bad(err)
	}
	if c.pixels += w * h; c.pixels > maxPixels {
		return invalid(at, "the images have more than %d million pixels together", maxPixels/1_000_000).withCode("invalid_image")
	}
	pixels, w, h, err := image.PrepareFit(data, vision.Fit())
	if err != nil {
		return bad(err)
	}
	grid, err := vision.ImageGrid(w, h)
	if err != nil {
		return bad(err)
	}
	c.images, c.sizes = append(c.images, pixels), append(c.sizes, [2]int{w, h})
	m.Images, m.Grids = m.Images+1, append(m.Grids, grid)
	return c.fits(grid.Tokens())
}

// fits returns an error if the images and the sound alone do not fit into the context, before more of
// them are decoded.
func (c *conversation) fits(tokens int) error {
	if c.media += tokens; c.media >= c.server.scheduler.Context() {
		return contextExceeded(c.media, c.server.scheduler.Context())
	}
	return nil
}

// dataURL returns the contents of a data: URL.
func dataURL(url, at string) ([]byte, error) {
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return nil, invalid(at, "only data: URLs are taken, data:image/png;base64,…; this server fetches nothing, so send the image itself instead of %.60q", url).withCode("invalid_image_url")
	}
	head, data, ok := strings.Cut(rest, ",")
	if !ok || !strings.HasSuffix(head, ";base64") || !strings.HasPrefix(head, "image/") {
		return nil, invalid(at, "the data: URL is not data:image/…;base64,…").withCode("invalid_image_url")
	}
	return decodeBase64(data, at)
}

func decodeBase64(data, at string) ([]byte, error) {
	out, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, invalid(at, "the data is not base64: %v", err).withCode("invalid_base64")
	}
	return out, nil
}

// clip decodes an input_audio.
func (c *conversation) clip(m *chat.Message, p part, at string) error {
	hears := c.server.model.Config.Audio
	switch {
	case p.InputAudio == nil || p.InputAudio.Data == nil:
		return missing(at + ".data")
	case hears.None():
		return invalid(at, "the model takes no sound").withCode("unsupported_value")
	case len(c.clips) >= maxClips:
		return invalid(at, "more than %d clips of sound", maxClips).withCode("array_above_max_length")
	case p.InputAudio.Format != "wav" && p.InputAudio.Format != "mp3":
		return invalid(at+".format", "Invalid value: %.40q. Supported values are: 'wav' and 'mp3'.", p.InputAudio.Format).withCode("invalid_value")
	}
	data, err := decodeBase64(*p.InputAudio.Data, at+".data")
	if err != nil {
		return err
	}
	samples, _, err := audio.Decode(data, hears.SampleRate)
	if err != nil {
		return invalid(at+".data", "the sound cannot be read: %v", err).withCode("invalid_audio")
	}
	c.clips = append(c.clips, samples)
	tokens := hears.Tokens(len(samples))
	m.Clips = append(m.Clips, tokens)
	return c.fits(tokens)
}

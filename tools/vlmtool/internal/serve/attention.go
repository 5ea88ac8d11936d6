package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/serve"
	"patchwork/vlm/tokenizer"
)

// maxWeights limits the weights of a response, patches times tokens, which are some 8 bytes each in JSON.
const maxWeights = 1 << 20

// attentionRequest is a request to /v1/attention: a conversation that ends with the model's answer.
type attentionRequest struct {
	Model           *string          `json:"model"`
	Messages        []message        `json:"messages"`
	TemplateOptions *templateOptions `json:"chat_template_kwargs"`
}

// attentionOf is the response: the attention from which each token of an answer was predicted.
type attentionOf struct {
	Object  string           `json:"object"`
	Model   string           `json:"model"`
	Images  []attendedImage  `json:"images"`
	Tokens  []tokenAttention `json:"tokens"`
	Omitted int              `json:"omitted_tokens"` // at the end of the answer
	Usage   *apiUsage        `json:"usage"`
}

// attendedImage is a picture as the model saw it, in patches.
type attendedImage struct {
	Index   int    `json:"index"` // among the pictures of the request
	Width   int    `json:"width"` // pixels
	Height  int    `json:"height"`
	Rows    int    `json:"rows"` // patches
	Columns int    `json:"columns"`
	Region  region `json:"region"` // of the picture that was sent, upright, that the model saw
}

// region is a part of a picture, in fractions of its sides.
type region struct {
	Left   rounded `json:"left"`
	Top    rounded `json:"top"`
	Width  rounded `json:"width"`
	Height rounded `json:"height"`
}

// tokenAttention is the attention of a token. The shares of the pictures, the rest of the prompt and the
// answer before the token sum to 1.
type tokenAttention struct {
	Text    string    `json:"text"`
	Start   int       `json:"start"` // characters (code points) of the answer before the token
	End     int       `json:"end"`
	Image   rounded   `json:"image"`
	Prompt  rounded   `json:"prompt"`
	Answer  rounded   `json:"answer"`
	Weights []weights `json:"weights"` // of each picture
}

// rounded is a share, which JSON has with six decimals.
type rounded float64

// MarshalJSON implements json.Marshaler.
func (r rounded) MarshalJSON() ([]byte, error) { return appendRounded(nil, float64(r)), nil }

// weights are the shares of the patches of a picture, row by row.
type weights []float64

// MarshalJSON implements json.Marshaler, for all weights at once: there may be a million.
func (w weights) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	for i, share := range w {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendRounded(out, share)
	}
	return append(out, ']'), nil
}

func appendRounded(out []byte, v float64) []byte {
	return strconv.AppendFloat(out, math.Round(v*1e6)/1e6, 'f', -1, 64)
}

// attention answers /v1/attention.
func (s *server) attention(w http.ResponseWriter, r *http.Request, body *requestBody) error {
	var out *attentionOf
	request, err := s.prepare(r, body, func(body []byte) ([]serve.Request, error) {
		response, one, err := s.prepareAttention(body)
		out = response
		return []serve.Request{one}, err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	answer, e, err := s.begin(ctx, r, request[0])
	if err != nil {
		return err
	}
	for i, m := range e.Attention {
		out.Tokens[i].set(m, out.Images)
	}
	if _, err := answer.Next(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	out.Usage.add(answer.Usage())
	return writeJSON(w, out)
}

// prepareAttention reads a request, and makes the response without its weights.
func (s *server) prepareAttention(body []byte) (*attentionOf, serve.Request, error) {
	var r attentionRequest
	var out serve.Request
	if err := decode(body, &r); err != nil {
		return nil, out, err
	}
	switch vision, last := s.model.Config.Vision, len(r.Messages)-1; {
	case r.Model != nil && *r.Model != s.model.ID && *r.Model != "":
		return nil, out, s.noModel(*r.Model)
	case vision.None():
		return nil, out, invalid("messages", "the model takes no images").withCode("unsupported_value")
	case last < 1 || r.Messages[last].Role != "assistant":
		return nil, out, invalid("messages", "the last of at least two messages must be the answer, of the role 'assistant'").withCode("invalid_value")
	}
	text, err := s.answerText(r.Messages)
	if err != nil {
		return nil, out, err
	}
	c, err := s.conversation(r.Messages[:len(r.Messages)-1])
	if err != nil {
		return nil, out, err
	}
	if len(c.images) == 0 {
		return nil, out, invalid("messages", "no picture belongs to the answer").withCode("no_image")
	}
	thinking := r.TemplateOptions != nil && r.TemplateOptions.Thinking
	if err := s.promptOf(c, chat.Options{AddGenerationPrompt: true, Thinking: &thinking}, &out); err != nil {
		return nil, out, err
	}
	response := &attentionOf{Object: "attention", Model: s.model.ID, Usage: &apiUsage{}, Images: s.attended(c)}
	if response.Tokens, out.Observe, err = s.answerTokens(text); err != nil {
		return nil, out, err
	}
	patches := 0
	for _, image := range response.Images {
		patches += image.Rows * image.Columns
	}
	if most := max(1, s.maxWeights/patches); len(out.Observe) > most {
		response.Omitted = len(out.Observe) - most
		response.Tokens, out.Observe = response.Tokens[:most], out.Observe[:most]
	}
	return response, out, nil
}

// answerText is the text of the last message.
func (s *server) answerText(messages []message) (string, error) {
	c, at := conversation{server: s}, fmt.Sprintf("messages[%d]", len(messages)-1)
	if err := c.add(messages[len(messages)-1], at); err != nil {
		return "", err
	}
	text := strings.ToValidUTF8(c.messages[0].Content, "\uFFFD")
	if strings.TrimSpace(text) == "" {
		return "", invalid(at+".content", "the answer has no text").withCode("invalid_value")
	}
	if least := s.model.Processor.MinTokens(chat.Turn{Assistant: text}); least > s.scheduler.Context() {
		return "", contextExceeded(least, s.scheduler.Context())
	}
	return text, nil
}

// answerTokens encodes an answer as the model writes it after its prompt, and places its tokens.
func (s *server) answerTokens(text string) (tokens []tokenAttention, ids []int32, err error) {
	tok := s.model.Processor.Tokenizer
	ids, starts, err := tok.EncodeOffsets(tokenizer.Piece{Text: text})
	if err != nil {
		return nil, nil, err
	}
	before := make([]int, len(text)+1) // characters that begin before a byte
	for i := range len(text) {
		if before[i+1] = before[i]; utf8.RuneStart(text[i]) {
			before[i+1]++
		}
	}
	for i, id := range ids {
		at, end := int(starts[i]), len(text)
		if i+1 < len(ids) {
			end = int(starts[i+1])
		}
		one := tokenAttention{Text: strings.ToValidUTF8(string(tok.Bytes(id)), "\uFFFD"), Start: before[end], End: before[end]}
		if at < end {
			one.Start = before[at+1] - 1 // of a part of a character, the whole
		}
		tokens = append(tokens, one)
	}
	return tokens, ids, nil
}

// attended describes the pictures of a conversation.
func (s *server) attended(c *conversation) (out []attendedImage) {
	vision, i := s.model.Config.Vision, 0
	for _, m := range c.messages {
		for _, g := range m.Grids {
			one := attendedImage{Index: c.first + i, Width: g.Cols * vision.PatchSize, Height: g.Rows * vision.PatchSize, Rows: g.Rows, Columns: g.Cols}
			left, top, width, height := vision.Fit().Region(c.sizes[i][0], c.sizes[i][1])
			one.Region = region{rounded(left), rounded(top), rounded(width), rounded(height)}
			out = append(out, one)
			i++
		}
	}
	return out
}

// set sets the weights of a token.
func (t *tokenAttention) set(m generate.AttentionMap, images []attendedImage) {
	t.Image, t.Prompt, t.Answer = rounded(m.ImageShare()), rounded(m.Prompt), rounded(m.Answer)
	patches := m.Patches
	for _, image := range images {
		n := image.Rows * image.Columns
		t.Weights, patches = append(t.Weights, patches[:n]), patches[n:]
	}
}

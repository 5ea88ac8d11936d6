package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"

	"patchwork/vlm/audio"
)

// words are what is said.
var words = strings.Fields(`zero one two three four five six seven eight nine yes no up down left right on off
	stop go red green blue black white cat dog bird tree house`)

// Voices of espeak-ng: an accent and a speaker. The speakers of the test are not heard in training.
var (
	accents      = []string{"en-us", "en-gb", "en-gb-x-rp", "en-us-nyc"}
	testSpeakers = []string{"f2", "m4", "Alicia", "Mike", "linda", "max"}
	speakers     = []string{"", "f1", "f3", "f4", "f5", "m1", "m2", "m3", "m5", "m6", "m7", "m8", "Alex", "Andrea", "Andy", "Annie", "Denis",
		"Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Nguyen", "anika", "antonio", "belinda", "benjamin",
		"boris", "caleb", "david", "edward", "grandma", "grandpa", "iven", "john", "marcelo", "michel", "miguel", "norbert", "pablo", "paul", "pedro",
		"quincy", "rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "zac"}

	trainVoices = voices(speakers)
	testVoices  = voices(testSpeakers)
)

func voices(speakers []string) (out []string) {
	for _, accent := range accents {
		for _, s := range speakers {
			out = append(out, strings.TrimSuffix(accent+"+"+s, "+"))
		}
	}
	return out
}

// utterance is a word in a voice.
type utterance struct {
	word, voice string
	speed       int // words a minute
	pitch       int // 0 to 99
}

// utterances draws clips of every word, in random order.
func utterances(random *rand.Rand, voices []string, clips int) (out []utterance) {
	for _, word := range words {
		order := random.Perm(len(voices))
		for i := range clips {
			out = append(out, utterance{word, voices[order[i%len(order)]], 120 + random.IntN(91), 20 + random.IntN(61)})
		}
	}
	random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// synthesiser returns an utterance as a WAV file.
type synthesiser func(utterance) ([]byte, error)

// espeak runs espeak-ng.
func espeak(u utterance) ([]byte, error) {
	c := exec.Command("espeak-ng", "-v", u.voice, "-s", strconv.Itoa(u.speed), "-p", strconv.Itoa(u.pitch), "--stdout", u.word)
	var failed bytes.Buffer
	c.Stderr = &failed
	wav, err := c.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errNoSynthesiser
	case err != nil:
		return nil, fmt.Errorf("espeak-ng: %w: %s", err, failed.String())
	}
	samples, _, err := audio.Decode(wav, rate)
	if err != nil {
		return nil, fmt.Errorf("espeak-ng: %s in the voice %s: %w", u.word, u.voice, err)
	}
	return encodeWAV(trim(samples)), nil
}

// rate of the clips, in samples a second: that of the words preset.
const rate = 16_000

// Silence around a word.
const (
	silence = 0.01      // of the largest sample
	margin  = rate / 20 // samples that are left
)

// trim cuts the silence before and after a word, but for a margin.
func trim(samples []float32) []float32 {
	loudest := float32(0)
	for _, v := range samples {
		loudest = max(loudest, v, -v)
	}
	lo, hi := 0, len(samples)
	quiet := func(v float32) bool { return max(v, -v) <= silence*loudest }
	for lo < hi && quiet(samples[lo]) {
		lo++
	}
	for hi > lo && quiet(samples[hi-1]) {
		hi--
	}
	return samples[max(0, lo-margin):min(len(samples), hi+margin)]
}

// encodeWAV writes mono samples as 16-bit PCM.
func encodeWAV(samples []float32) []byte {
	size := uint32(2 * len(samples))
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("RIFF"), 36+size)
	out = le.AppendUint32(append(out, "WAVEfmt "...), 16)
	out = le.AppendUint16(le.AppendUint16(out, 1), 1) // PCM, mono
	out = le.AppendUint32(le.AppendUint32(out, rate), 2*rate)
	out = le.AppendUint16(le.AppendUint16(out, 2), 16)
	out = le.AppendUint32(append(out, "data"...), size)
	for _, v := range samples {
		out = le.AppendUint16(out, uint16(int16(32767*min(1, max(-1, v)))))
	}
	return out
}

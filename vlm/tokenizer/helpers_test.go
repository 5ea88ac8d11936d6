package tokenizer_test

import "patchwork/vlm/tokenizer"

// The patterns of these tests cannot fail.

func pieceIDs(tok *tokenizer.Tokenizer, pieces ...tokenizer.Piece) []int32 {
	ids, _ := offsets(tok, pieces...)
	return ids
}

func plainIDs(tok *tokenizer.Tokenizer, text string) []int32 {
	return pieceIDs(tok, tokenizer.Piece{Text: text})
}

func trustedIDs(tok *tokenizer.Tokenizer, text string) []int32 {
	return pieceIDs(tok, tokenizer.Piece{Text: text, Trusted: true})
}

func offsets(tok *tokenizer.Tokenizer, pieces ...tokenizer.Piece) (ids, starts []int32) {
	ids, starts, err := tok.EncodeOffsets(pieces...)
	if err != nil {
		panic(err)
	}
	return ids, starts
}

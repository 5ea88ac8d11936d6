package main

import "github.com/mmcloughlin/avo/build"

func defineVector(c *build.Context) {
}

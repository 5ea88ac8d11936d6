package jinja

// An expr is an expression, a stmt a statement or an output.
type (
	expr interface{}
	stmt interface{}
)

type (
	constant  struct{ value Value }
	nameExpr  struct{ name string }
	tupleExpr struct{ items []expr }
	listExpr  struct{ items []expr }
	dictExpr  struct{ keys, values []expr }
	condExpr  struct {
		test, then, otherwise expr // otherwise may be nil
		line                  int
	}
	logicExpr struct { // and, or
		and         bool
		left, right expr
	}
	notExpr   struct{ inner expr }
	unaryExpr struct { // - or +
		op    string
		inner expr
	}
	binaryExpr struct {
		op          string
		left, right expr
	}
	concatExpr  struct{ items []expr }
	compareExpr struct {
		first expr
		ops   []string // with "in" and "not in"
		rest  []expr
	}
	attrExpr struct {
		object expr
		name   string
	}
	itemExpr  struct{ object, index expr }
	sliceExpr struct{ lo, hi, step expr } // each may be nil
	callArgs  struct {
		args       []expr
		names      []string // of the keyword arguments
		named      []expr
		star, dict expr // *args, **kwargs, or nil
	}
	callExpr struct {
		callee expr
		callArgs
		line int
	}
	filterExpr struct {
		inner expr // nil in a filter block: the block's text
		name  string
		callArgs
		line int
	}
	testExpr struct {
		inner expr
		name  string
		callArgs
		line int
	}
	namespaceRef struct{ name, attr string } // a target of set
)

type (
	dataStmt   struct{ text string }
	outputStmt struct {
		value expr
		line  int
	}
	ifStmt struct {
		tests  []expr
		bodies [][]stmt
		last   []stmt // else
		line   int
	}
	forStmt struct {
		target, iter, test expr
		body, last         []stmt
		recursive          bool
		line               int
		frame              *frame
		lastFrame          *frame
	}
	setStmt struct {
		target, value expr
		line          int
	}
	setBlock struct {
		target expr
		filter expr // or nil
		body   []stmt
		line   int
		frame  *frame
	}
	macroStmt struct {
		name     string
		params   []string
		defaults []expr
		body     []stmt
		line     int
		frame    *frame
		// special names that the body uses
		usesCaller, usesVarargs, usesKwargs bool
	}
	callBlock struct {
		call  *callExpr
		macro *macroStmt
		line  int
	}
	filterBlock struct {
		filter expr
		body   []stmt
		line   int
		frame  *frame
	}
	withStmt struct {
		targets, values []expr
		body            []stmt
		line            int
		frame           *frame
	}
	generationBlock struct {
		macro *macroStmt
		line  int
	}
	breakStmt    struct{}
	continueStmt struct{}
)

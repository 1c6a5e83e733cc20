package source

// Duplicate tells that an object is defined twice; the first one is used.
func Duplicate(first, second *Object) Problem {
	p := Problem{
		Code: "duplicate-object", Severity: Error, Object: second.String(), Line: second.Origin.LineOf(""),
		Reason: "this object is defined already at " + first.Origin.String() + ", which is used",
		Mend:   "delete one of the two",
	}
	if second.Origin != nil {
		p.File = second.Origin.File
	}
	return p
}

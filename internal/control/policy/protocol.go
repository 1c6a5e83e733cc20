package policy

import "github.com/reclosermesh/recloser/internal/control/model"

// protocol is what is spoken to a port, with what decided it.
func protocol(p *model.Port) Value[model.Protocol] {
	pp := &p.Protocol
	if !pp.Declared() {
		return Value[model.Protocol]{pp.Protocol, Origin{Default: pp.Default}}
	}
	o := originOf(pp.Object, pp.Field)
	o.Stale = pp.Stale
	return Value[model.Protocol]{pp.Protocol, o}
}

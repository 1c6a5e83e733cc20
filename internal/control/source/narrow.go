package source

// anyField says that every field of a block counts.
const anyField = "*"

// narrowing names, by the name of a type, the fields that say which requests
// something is for, where they go, or what share of them. A field that is
// mistaken for one of these cannot be passed over: what is left would hold for
// more requests than was meant, as a match that lost its path is one for every
// path.
//
//nolint:gochecknoglobals // a table, not changed
var narrowing = map[string][]string{
	// Istio.
	"VirtualService":       {"hosts", "gateways", "exportTo"},
	"HTTPRoute":            {"match", "mirrorPercentage", "mirrorPercent"},
	"TLSRoute":             {"match"},
	"TCPRoute":             {"match"},
	"HTTPMatchRequest":     {anyField},
	"L4MatchAttributes":    {anyField},
	"TLSMatchAttributes":   {anyField},
	"StringMatch":          {anyField},
	"Destination":          {anyField},
	"PortSelector":         {anyField},
	"HTTPRouteDestination": {"weight"},
	"RouteDestination":     {"weight"},
	"HTTPMirrorPolicy":     {"percentage"},
	"Delay":                {"percentage", "percent"},
	"Abort":                {"percentage", "percent"},
	"Percent":              {anyField},
	"DestinationRule":      {"exportTo", "workloadSelector"},
	"Subset":               {anyField},
	"WorkloadSelector":     {anyField},
	// Gateway API.
	"HTTPRouteSpec":           {"parentRefs", "hostnames"},
	"GRPCRouteSpec":           {"parentRefs", "hostnames"},
	"ParentReference":         {anyField},
	"HTTPRouteRule":           {"matches"},
	"GRPCRouteRule":           {"matches"},
	"HTTPRouteMatch":          {anyField},
	"HTTPPathMatch":           {anyField},
	"HTTPHeaderMatch":         {anyField},
	"HTTPQueryParamMatch":     {anyField},
	"GRPCRouteMatch":          {anyField},
	"GRPCMethodMatch":         {anyField},
	"GRPCHeaderMatch":         {anyField},
	"HTTPBackendRef":          {"weight", "namespace", "port"},
	"GRPCBackendRef":          {"weight", "namespace", "port"},
	"BackendObjectReference":  {anyField},
	"HTTPRequestMirrorFilter": {"percent", "fraction"},
	"Fraction":                {anyField},
	// Linkerd and SMI. A route or a class without a condition is left out anyway.
	"ProfileCondition": {anyField},
	"ProfileAnswer":    {anyField},
	"ProfileRange":     {anyField},
	"TrafficSplitSpec": {"matches"},
	"SplitBackend":     {"weight"},
	"GroupMatch":       {anyField},
}

// narrows tells whether a field that a type does not have would, had it been
// written right, have made something hold for less: it is in a block that does
// nothing else, or the field that was likely meant does so.
func narrows(typ, meant string) bool {
	for _, f := range narrowing[typ] {
		if f == anyField || f == meant {
			return true
		}
	}
	return false
}

package routing

import (
	"math"
	"math/big"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Weights makes whole numbers of quantities ("500m", "1", "90"), in their
// proportions. Negative and missing ones are 0. The sum fits 32 bits, as
// Envoy's does; what would be above is divided, and a share that is not 0
// stays so.
func Weights(quantities []*resource.Quantity) []uint32 {
	milli := make([]*big.Int, len(quantities))
	whole, sum := true, new(big.Int)
	for i, q := range quantities {
		milli[i] = new(big.Int)
		if q == nil || q.Sign() <= 0 {
			continue
		}
		// Amounts below a thousandth round up, so that they are not 0.
		milli[i].SetInt64(q.MilliValue())
		if v := q.Value(); v > math.MaxInt64/1000 {
			milli[i].Mul(big.NewInt(v), big.NewInt(1000))
		}
		whole = whole && new(big.Int).Mod(milli[i], big.NewInt(1000)).Sign() == 0
		sum.Add(sum, milli[i])
	}
	times, by := big.NewInt(1), big.NewInt(1)
	if whole {
		by.SetInt64(1000)
	}
	// Each share may be rounded up by one.
	most := big.NewInt(math.MaxUint32 - int64(len(quantities)))
	if new(big.Int).Div(sum, by).Cmp(most) > 0 {
		times, by = most, sum
	}
	out := make([]uint32, len(quantities))
	for i, m := range milli {
		if m.Sign() > 0 {
			m.Mul(m, times)
			out[i] = uint32(max(m.Div(m, by).Uint64(), 1))
		}
	}
	return out
}

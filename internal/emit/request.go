package emit

import "strconv"

// appendRequest tells duration in every record; the other fields are absent where nothing is known.
func appendRequest(dst []byte, r *Record) []byte {
	dst = append(dst, `,"request":`...)
	open := len(dst)
	dst = appendKnown(dst, `,"method":`, r.Method)
	dst = appendKnown(dst, `,"host":`, r.Host)
	dst = appendPositive(dst, `,"status":`, r.Status)
	dst = appendSecondsField(dst, `,"duration":`, r.Duration)
	if r.Client.IsValid() {
		dst = append(r.Client.AppendTo(append(dst, `,"client":"`...)), '"')
	}
	dst = appendPositive(dst, `,"pid":`, r.PID)
	dst = appendPositive(dst, `,"tid":`, r.TID)
	dst = appendKnown(dst, `,"runtime":`, r.Runtime)
	dst = appendKnown(dst, `,"client_time":`, r.ClientTime)
	dst = appendKnown(dst, `,"traceparent":`, r.TraceParent)
	if r.BytesIn >= 0 {
		dst = appendIntField(dst, `,"bytes_in":`, r.BytesIn)
	}
	if r.BytesOut >= 0 {
		dst = appendIntField(dst, `,"bytes_out":`, r.BytesOut)
	}
	if r.Blocked != nil {
		dst = appendBlocked(dst, r.Blocked)
	}
	if r.Lost > 0 {
		dst = strconv.AppendUint(append(dst, `,"lost":`...), r.Lost, 10)
	}
	dst = appendIncomplete(dst, r.Incomplete)
	dst[open] = '{' // in place of the first field's comma
	return append(dst, '}')
}

func appendKnown(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendStringField(dst, key, value)
}

func appendPositive(dst []byte, key string, value int) []byte {
	if value <= 0 {
		return dst
	}
	return appendIntField(dst, key, int64(value))
}

func appendBlocked(dst []byte, b *Blocked) []byte {
	dst = append(dst, `,"blocked":`...)
	open := len(dst)
	for r, ns := range b {
		if ns > 0 {
			dst = appendSeconds(appendKey(dst, Reason(r).String()), ns)
		}
	}
	if len(dst) == open {
		return append(dst, '{', '}')
	}
	dst[open] = '{'
	return append(dst, '}')
}

func appendIncomplete(dst []byte, set Incomplete) []byte {
	if set &= 1<<len(incompleteNames) - 1; set == 0 {
		return dst
	}
	dst = append(dst, `,"incomplete":`...)
	open := len(dst)
	for i, name := range incompleteNames {
		if set&(1<<i) != 0 {
			dst = append(dst, ',', '"')
			dst = append(dst, name...)
			dst = append(dst, '"')
		}
	}
	dst[open] = '['
	return append(dst, ']')
}

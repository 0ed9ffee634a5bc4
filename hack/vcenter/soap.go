package main

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const maxRequest = 64 << 20 // bytes

// call is what a SOAP request asks, as far as rules need it.
type call struct {
	method string
	this   types.ManagedObjectReference
	// named is the request's own <name> (a clone's future name).
	named string
}

// readCall takes the method, its object and its <name> from a SOAP envelope.
func readCall(body []byte) (c call) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	depth, inBody := 0, false
	for {
		token, err := decoder.Token()
		if err != nil {
			return c
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			switch {
			case depth == 2:
				inBody = token.Name.Local == "Body"
			case depth == 3 && inBody:
				c.method = token.Name.Local
			case depth == 4 && inBody && (token.Name.Local == "_this" || token.Name.Local == "name"):
				var text string
				if decoder.DecodeElement(&text, &token) != nil {
					return c
				}
				depth--
				if token.Name.Local == "name" {
					c.named = text
					continue
				}
				c.this.Value = text
				for _, attribute := range token.Attr {
					if attribute.Name.Local == "type" {
						c.this.Type = attribute.Value
					}
				}
			}
		case xml.EndElement:
			depth--
		}
	}
}

// middleware applies the faults to each SOAP request before the simulator sees it.
func (f *faults) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		called := readCall(body)
		latency, rule, healed := f.onCall(called)
		if !wait(r, latency, healed) {
			panic(http.ErrAbortHandler)
		}
		if rule == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch rule.Effect {
		case "delay":
			if !wait(r, seconds(rule.Seconds), healed) {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		case "hang": // for ever; once healed the connection is closed and nothing was done
			select {
			case <-healed:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		case "drop":
			panic(http.ErrAbortHandler)
		case "lose":
			next.ServeHTTP(&unsent{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		case "fault":
			writeFault(w, rule)
		}
	})
}

// wait sleeps, and returns early when the faults are healed; false when the client has gone.
func wait(r *http.Request, time_ time.Duration, healed <-chan struct{}) bool {
	if time_ <= 0 {
		return true
	}
	timer := time.NewTimer(time_)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-healed:
	case <-r.Context().Done():
		return false
	}
	return true
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second))
}

// unsent is the writer of an answer that never arrives.
type unsent struct{ header http.Header }

func (u *unsent) Header() http.Header            { return u.header }
func (u *unsent) Write(text []byte) (int, error) { return len(text), nil }
func (u *unsent) WriteHeader(int)                {}

// typedFault is a fault as an element named <Type>Fault with its xsi:type, as vCenter sends it.
type typedFault struct{ rule *rule }

func (t typedFault) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	start := xml.StartElement{
		Name: xml.Name{Local: t.rule.Fault + "Fault"},
		Attr: []xml.Attr{
			{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
			{Name: xml.Name{Local: "xsi:type"}, Value: t.rule.Fault},
		},
	}
	return e.EncodeElement(t.rule.newFault(), start)
}

func writeFault(w http.ResponseWriter, rule *rule) {
	type fault struct {
		Code   string                     `xml:"faultcode"`
		String string                     `xml:"faultstring"`
		Detail struct{ Fault typedFault } `xml:"detail"`
	}
	envelope := struct {
		XMLName xml.Name `xml:"soapenv:Envelope"`
		Env     string   `xml:"xmlns:soapenv,attr"`
		XSI     string   `xml:"xmlns:xsi,attr"`
		Body    struct {
			Fault fault `xml:"soapenv:Fault"`
		} `xml:"soapenv:Body"`
	}{Env: "http://schemas.xmlsoap.org/soap/envelope/", XSI: "http://www.w3.org/2001/XMLSchema-instance"}
	envelope.Body.Fault.Code = "ServerFaultCode"
	envelope.Body.Fault.String = rule.Message
	envelope.Body.Fault.Detail.Fault = typedFault{rule}
	text, err := xml.Marshal(envelope)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write(append([]byte(xml.Header), text...))
}

/** The caller's trace goes on through the fleet: `traceparent` as W3C Trace Context writes it. */
import type { HonoRequest } from 'hono'

export function traceOf(request: HonoRequest): { trace?: string } {
  const trace = request.header('traceparent')
  return trace !== undefined && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(trace) ? { trace } : {}
}

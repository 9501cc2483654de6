/** The HTTP API as the page uses it: with the session's cookie, and with problems as errors. */

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The gateway answered ${status}`)
    this.status = status
    this.code = problem.code ?? 'unknown'
  }
}

/** Throws ApiError for an answer that is a problem, and TypeError where there is no answer. */
export async function request(path, init = {}) {
  const response = await fetch(path, { ...init, signal: AbortSignal.timeout(15_000) })
  if (response.status === 204) return null
  const body = await response.json()
  if (!response.ok) throw new ApiError(response.status, body)
  return body
}

export function signIn(token) {
  return request('/v1/session', { method: 'POST', headers: { authorization: `Bearer ${token}` } })
}

export function signOut() {
  return request('/v1/session', { method: 'DELETE' })
}

/**
 * Follows a job until it is over or the returned function is called. The browser connects again by itself, with the id
 * of the last event, so that nothing is lost or told twice.
 */
export function followJob(id, { onState, onMetrics, onLog, onLink, onRestart }) {
  const source = new EventSource(`/v1/jobs/${encodeURIComponent(id)}/events`)
  const on = (type, listener) => source.addEventListener(type, (event) => listener(JSON.parse(event.data)))
  on('state', onState)
  on('metrics', onMetrics)
  on('log', onLog)
  on('resync', onRestart)
  on('end', () => source.close())
  source.addEventListener('open', () => onLink(true))
  source.addEventListener('error', () => onLink(false))
  return () => source.close()
}

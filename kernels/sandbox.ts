/**
 * Takes away what a kernel process has no use for, before it computes anything: the network, child processes, threads.
 * The files are Node's permission model's business (see `process.ts`); Node 24 has no permission for the network, so
 * the process closes the doors itself, on the inside: modules that open sockets cannot be loaded any more, the globals
 * that do are gone, and so are the ways around the module loader.
 *
 * This holds against code that a model or a kernel source might smuggle in through JavaScript. It does not claim to
 * hold against an attacker who already runs machine code in the process; a container does that.
 */
import { registerHooks } from 'node:module'

const FORBIDDEN = new Set([
  'net', 'tls', 'http', 'https', 'http2', 'dgram', 'dns', 'dns/promises', 'quic', 'child_process', 'cluster', 'worker_threads',
  'inspector', 'inspector/promises', 'repl', 'module', 'vm', 'wasi',
]) // prettier-ignore

const FORBIDDEN_GLOBALS = ['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest', 'Request', 'Response', 'navigator']

let closed = false

export function closeDoors(): void {
  if (closed) return
  closed = true
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const name = specifier.startsWith('node:') ? specifier.slice(5) : specifier
      if (FORBIDDEN.has(name)) throw denied(name)
      return nextResolve(specifier, context)
    },
  })
  for (const name of FORBIDDEN_GLOBALS) Reflect.deleteProperty(globalThis, name)
  for (const name of ['binding', '_linkedBinding', 'dlopen']) {
    Object.defineProperty(process, name, { value: refuse(`process.${name}`), configurable: false, writable: false })
  }
  // getBuiltinModule goes past the loader's hooks.
  const getBuiltinModule = process.getBuiltinModule.bind(process)
  const guarded = (id: string): unknown => {
    const name = id.startsWith('node:') ? id.slice(5) : id
    if (FORBIDDEN.has(name)) throw denied(name)
    return getBuiltinModule(id)
  }
  Object.defineProperty(process, 'getBuiltinModule', { value: guarded, configurable: false, writable: false })
}

const refuse = (what: string) => (): never => {
  throw denied(what)
}

function denied(name: string): Error {
  return Object.assign(
    new Error(`A kernel process has no ${name}: it computes, and reads and writes only its own files`),
    {
      code: 'ERR_ACCESS_DENIED',
    },
  )
}

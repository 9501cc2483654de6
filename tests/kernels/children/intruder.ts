/**
 * Runs where a kernel runs, behind the same closed doors and permissions, and tries what a kernel must not do. It
 * answers with what came of each attempt.
 */
import { fileURLToPath } from 'node:url'
import { closeDoors } from '../../../kernels/sandbox.ts'

closeDoors()

const attempts: Record<string, () => unknown> = {
  'read /etc/passwd': async () => (await import('node:fs')).readFileSync('/etc/passwd'),
  'write beside the scratch folder': async () => (await import('node:fs')).writeFileSync('/tmp/tensorfleet-intruder', 'x'),
  'read the package lock': async () => (await import('node:fs')).readFileSync(new URL('../../../package-lock.json', import.meta.url)),
  'import node:net': () => import('node:net'),
  'import https': () => import('https' as string),
  'import node:dns': () => import('node:dns'),
  'import node:child_process': () => import('node:child_process'),
  'import node:worker_threads': () => import('node:worker_threads'),
  'import node:module': () => import('node:module'),
  'fetch': () => (globalThis.fetch as typeof fetch | undefined)?.('http://127.0.0.1:1') ?? refuse('no fetch'),
  'open a WebSocket': () => new WebSocket('ws://127.0.0.1:1'),
  'process.binding': () => (process as unknown as { binding(name: string): unknown }).binding('tcp_wrap'),
  'load an add-on': () => process.dlopen({ exports: {} }, fileURLToPath(import.meta.resolve('webgpu'))),
  'process.getBuiltinModule': () => process.getBuiltinModule('node:net'),
} // prettier-ignore

function refuse(message: string): never {
  throw new Error(message)
}

process.on('message', (message: { id: number }) => void report(message.id))
process.send?.({ type: 'ready', backend: 'cpu', fingerprint: 'test' })

async function report(id: number): Promise<void> {
  const outcomes: Record<string, string> = {}
  for (const [name, attempt] of Object.entries(attempts)) {
    try {
      await attempt()
      outcomes[name] = 'done'
    } catch {
      outcomes[name] = 'refused'
    }
  }
  process.send?.({ type: 'result', id, result: { outcomes, environment: Object.keys(process.env) } })
}

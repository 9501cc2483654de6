/** Supervised child processes (cli/child.ts), with real ones. */
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { isAlive } from './alive.ts'
import { Child, describeExit, type ChildExit, type ChildOptions } from '../../cli/child.ts'

const RESTART = { when: 'always', intensity: 3, periodMs: 60_000, delayMs: 1 } as const
const FOREVER = `console.log('up'); setInterval(() => {}, 1000);`

test('hands on what its process writes, line by line, and tells how it ended', async () => {
  const lines: string[] = []
  const { child, exits } = childOf(`console.log('one\\ntwo'); console.error('three'); process.exitCode = 3`, {
    onLine: (line, source) => lines.push(`${source}: ${line}`),
  })
  await child.start()
  const exit = await child.ended
  expect(lines.toSorted()).toEqual(['stderr: three', 'stdout: one', 'stdout: two'])
  expect(exit).toMatchObject({ code: 3, signal: null, next: 'ended' })
  expect(exits).toEqual([exit])
  expect(exit && describeExit(exit)).toBe(`test (pid ${exit?.pid}) ended with code 3`)
})

test('a command that cannot be run is a clear error', async () => {
  const child = new Child({ name: 'ghost', command: '/nowhere/ghost' })
  await expect(child.start()).rejects.toMatchObject({
    code: 'child.not-started',
    message: expect.stringContaining('Cannot start ghost (/nowhere/ghost)'),
  })
  await child.stop()
})

test('is asked to stop, and has ended when stop resolves', async () => {
  const { child, exits, up } = childOf(`process.on('SIGTERM', () => process.exit(0)); ${FOREVER}`, { restart: RESTART })
  await child.start()
  await up
  await Promise.all([child.stop(), child.stop()])
  expect(exits).toEqual([expect.objectContaining({ code: 0, next: 'stopped' })])
  expect(child.pid).toBeUndefined()
})

test('is killed when it does not stop in time', async () => {
  const { child, exits, up } = childOf(`process.on('SIGTERM', () => {}); ${FOREVER}`, { stopMs: 50 })
  await child.start()
  await up
  await child.stop()
  expect(exits).toEqual([expect.objectContaining({ signal: 'SIGKILL', next: 'stopped' })])
})

test('is restarted when it dies, up to the intensity, and then given up', async () => {
  const { child, exits } = childOf('process.exit(1)', { restart: RESTART })
  await child.start()
  expect(await child.ended).toMatchObject({ next: 'given-up' })
  expect(exits.map((exit) => exit.next)).toEqual(['restarting', 'restarting', 'restarting', 'given-up'])
  expect(new Set(exits.map((exit) => exit.pid)).size).toBe(4)
})

test('restarts that lie further back than the period are forgiven', async () => {
  const { child, exits } = childOf('process.exit(1)', { restart: { ...RESTART, intensity: 1, periodMs: 0.001 } })
  await child.start()
  await vi.waitUntil(() => exits.length >= 4, { timeout: 20_000 })
  await child.stop()
  expect(exits.every((exit) => exit.next !== 'given-up')).toBe(true)
})

test('what ended well is not restarted under on-failure', async () => {
  const { child } = childOf('process.exit(0)', { restart: { ...RESTART, when: 'on-failure' } })
  await child.start()
  expect(await child.ended).toMatchObject({ code: 0, next: 'ended' })
})

test('a stop between a death and the restart leaves it stopped', async () => {
  const { child, exits } = childOf('process.exit(1)', { restart: { ...RESTART, delayMs: 3_600_000 } })
  await child.start()
  await vi.waitUntil(() => exits.length === 1)
  await child.stop()
  expect(await child.ended).toBeUndefined()
  expect(child.pid).toBeUndefined()
})

test('what it leaves behind in its group ends with it', async () => {
  const program = `
    const { spawn } = await import('node:child_process')
    const grandchild = spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
    console.log(grandchild.pid)
    process.kill(process.pid, 'SIGKILL')
  `
  const lines: string[] = []
  const { child } = childOf(program, { onLine: (line) => lines.push(line) })
  await child.start()
  await child.ended
  const pid = Number(lines[0])
  expect(pid).toBeGreaterThan(1)
  await expect.poll(() => isAlive(pid)).toBe(false)
})

test('a child that listens on stdin learns of its parent’s death, even by kill -9', async () => {
  const program = `
    const { Child } = await import(${JSON.stringify(import.meta.resolve('../../cli/child.ts'))})
    const child = new Child({
      name: 'inner',
      command: process.execPath,
      args: ['--eval', 'process.stdin.resume().on("end", () => process.exit()); console.log("up")'],
      onLine: () => console.log(child.pid),
    })
    await child.start()
  `
  const lines: string[] = []
  const { child } = childOf(program, { onLine: (line) => lines.push(line) })
  await child.start()
  await vi.waitUntil(() => lines.length === 1, { timeout: 20_000 })
  child.kill('SIGKILL')
  await child.ended
  await expect.poll(() => isAlive(Number(lines[0])), { timeout: 10_000 }).toBe(false)
})

function childOf(
  program: string,
  options: Partial<ChildOptions>,
): { child: Child; exits: ChildExit[]; up: Promise<unknown> } {
  const exits: ChildExit[] = []
  const heard = new EventTarget()
  const child = new Child({
    name: 'test',
    command: process.execPath,
    args: ['--input-type=module', '--eval', program],
    onExit: (exit) => exits.push(exit),
    onLine: () => heard.dispatchEvent(new Event('line')),
    ...options,
  })
  onTestFinished(() => child.stop())
  return { child, exits, up: once(heard, 'line') }
}

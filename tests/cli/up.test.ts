/** What `tensorfleet up` says when it cannot start: a sentence that helps, an exit code, and nothing left running. */
import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { join } from 'node:path'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { has } from '../harness/parts.ts'
import { processesOf, ProcessFleet, temporaryFolder, tensorfleet } from '../harness/processes.ts'
import type { Ran, RunOptions } from '../harness/processes.ts'
import { TestRedis } from '../harness/redis.ts'

const LIMIT_MS = 120_000

test.each(['auto', 'memory'])(
  'a port that is taken is named (transport %s)',
  { timeout: LIMIT_MS },
  async (transport) => {
    await using taken = await listening()
    const ran = await up(['--port', String(taken.port), '--transport', transport])
    expect(ran).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`Cannot listen on port ${taken.port} of 127.0.0.1`),
    })
    expect(ran.stderr).toContain('choose another port with --port')
    expect(ran.stderr).not.toContain('started again')
  },
)

test('an address that this machine does not have is named', { timeout: LIMIT_MS }, async () => {
  const ran = await up(['--port', '0', '--host', '192.0.2.1', '--transport', 'memory'])
  expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('is 192.0.2.1 an address of this machine?') })
})

test('a Redis that does not answer is named, with what to do', async () => {
  const ran = await up(['--port', '0'], { env: { REDIS_URL: 'redis://:secret@127.0.0.1:1' } })
  expect(ran).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /Cannot reach the Redis at redis:\/\/:\*\*\*@127\.0\.0\.1:1: .*Start it, or correct REDIS_URL/,
    ),
  })
  expect(ran.stderr).not.toContain('secret')
})

test('a Redis that is too old is named, with what was expected and found', async () => {
  await using old = await listening(introduceAsRedis6)
  const ran = await up(['--port', '0'], { env: { REDIS_URL: `redis://127.0.0.1:${old.port}` } })
  expect(ran).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('expected version 7.0.0 or newer, found 6.0.16'),
  })
})

test('a worker or a control process without its Redis says so', async () => {
  for (const command of ['worker', 'control']) {
    await using folder = await temporaryFolder()
    const ran = await tensorfleet([command, '--data', folder.path, '--redis', 'redis://127.0.0.1:1'])
    expect(ran).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^tensorfleet: Redis does not answer: .*127\.0\.0\.1:1\n$/),
    })
  }
})

test('a job file that cannot be read stops nothing half-way: nothing starts', async () => {
  const ran = await up(['--port', '0', '--submit', '/nowhere/job.yaml'])
  expect(ran).toEqual({
    code: 2,
    stdout: '',
    stderr: 'tensorfleet: Cannot read /nowhere/job.yaml: there is no such file\n',
  })
})

test('a data folder that cannot be made is named', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'file')
  await writeFile(file, '')
  const ran = await tensorfleet(['up', '--data', join(file, 'data'), '--port', '0'])
  expect(ran).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`Cannot make the data folder ${join(file, 'data')}`),
  })
})

test('a second fleet on the same folder is refused, and the first goes on', { timeout: LIMIT_MS }, async () => {
  await using fleet = await ProcessFleet.start({ workers: 1 })
  const ran = await tensorfleet(['up', '--data', fleet.folder, '--port', '0'])
  expect(ran).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/another TensorFleet \(pid \d+\) uses this data folder/),
  })
  expect(await fleet.workers()).toHaveLength(1)
})

test.skipIf(!has('redis'))('a data folder of a fleet with another Redis is refused, and stays as it is', async () => {
  const redis = await TestRedis.start()
  onTestFinished(() => redis.stop())
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'fleet'), 'the-other\n')
  const ran = await tensorfleet(['control', '--data', folder.path, '--redis', redis.url, '--port', '0'])
  expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('belongs to a fleet with another Redis') })
  expect(ran.stderr).toContain('found the-other in')
  expect(await readdir(folder.path)).toEqual(['fleet'])
})

/** Runs `up` in a folder of its own, to an end that it must come to by itself. */
async function up(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  await using folder = await temporaryFolder()
  const ran = await tensorfleet(['up', '--data', folder.path, ...args], options)
  expect(processesOf(folder.path)).toEqual([])
  expect(`${ran.stdout}${ran.stderr}`).not.toMatch(/^\s+at /m)
  return ran
}

async function listening(
  answer: (server: Server) => void = () => undefined,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer().listen(0, '127.0.0.1')
  answer(server)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on TCP
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}

/** No such server can be had here: this is all that is asked of one. */
function introduceAsRedis6(server: Server): void {
  const info = 'redis_version:6.0.16\r\nrole:master\r\n'
  server.on('connection', (socket) => {
    socket.on('data', (data) => {
      const asked = data
        .toString()
        .toLowerCase()
        .split(/^\*\d+\r\n/m)
        .slice(1)
      for (const command of asked) {
        if (command.includes('\r\ninfo\r\n') && !command.includes('command'))
          socket.write(`$${info.length}\r\n${info}\r\n`)
        else socket.write(command.includes('command') ? '*0\r\n' : '+OK\r\n')
      }
    })
  })
}

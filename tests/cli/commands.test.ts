/** The commands, run as a user runs them, against a fleet that runs. What they print and how they end is API. */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JobView } from '../../machines/views.ts'
import { smallJob, tinyJob } from '../harness/jobs.ts'
import { ProcessFleet, temporaryFolder, tensorfleet } from '../harness/processes.ts'
import type { Ran, RunOptions, TemporaryFolder } from '../harness/processes.ts'

const COMMANDS = ['up', 'control', 'worker', 'page', 'submit', 'ps', 'watch', 'logs', 'cancel', 'pause', 'resume', 'retry', 'clone', 'models', 'model', 'download', 'predict', 'evaluate', 'workers', 'pool', 'sweep', 'sweeps', 'gc', 'actors', 'dead-letters'] // prettier-ignore
/** A black image, which is an example of no digit but has the right shape. */
const IMAGE = Array.from({ length: 28 }, () => Array.from({ length: 28 }, () => [0]))

let fleet: ProcessFleet
let files: TemporaryFolder
/** A job that has completed. */
let done: JobView

beforeAll(async () => {
  files = await temporaryFolder()
  fleet = await ProcessFleet.start({ workers: 1, args: ['--transport', 'memory'] })
  done = await fleet.untilEnded(await fleet.submit(tinyJob))
}, 180_000)

afterAll(async () => {
  await fleet[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
})

describe('actors', () => {
  test('are counted by kind and state, and listed by kind', async () => {
    const counts = await run(['actors'])
    expect(counts.code).toBe(0)
    expect(counts.stdout).toMatch(/^KIND +STATE +ACTORS\n(.*\n)*job +completed +\d+\n/)
    const jobs = await run(['actors', 'job', '--state', 'completed'])
    expect(jobs.stdout).toMatch(new RegExp(`^ACTOR +STATE +SINCE\n(.*\n)*job/${done.id} +completed +\\d+ s ago\n`))
    expect(JSON.parse((await run(['actors', 'job', '--json', '--limit', '1'])).stdout)).toHaveLength(1)
    expect(await run(['actors', 'unheard-of'])).toMatchObject({ code: 0, stdout: '', stderr: 'No such actors.\n' })
    const stateAlone = await run(['actors', '--state', 'completed'])
    expect(stateAlone).toMatchObject({ code: 2, stderr: expect.stringContaining('a kind is missing') })
  })
})

describe('dead letters', () => {
  test('where there are none, that is said', async () => {
    expect(await run(['dead-letters', 'ls'])).toMatchObject({ code: 0, stdout: '', stderr: 'No dead letters.\n' })
    expect(await run(['dead-letters', 'ls', '--json'])).toMatchObject({ code: 0, stdout: '[]\n' })
  })

  test.each(['show', 'resend', 'drop'])('%s of one that is not there says so', async (command) => {
    const ran = await run(['dead-letters', command, '1-0@3'])
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('There is no dead letter "1-0@3"') })
  })

  test('one cannot be edited without an editor or a file', async () => {
    const ran = await run(['dead-letters', 'edit', '1-0@3', '--event', '/nowhere.json'])
    expect(ran.code).toBe(2)
  })
})

describe('dataset', () => {
  test('shows rows with the beginnings of their pictures', async () => {
    const { code, stdout } = await run(['dataset', 'show', 'mnist', '-n', '2'])
    expect(code).toBe(0)
    expect(stdout.split('\n').slice(-3, -1)).toEqual([
      expect.stringMatching(/^\{"image":\[(0,){12}"… of 784"\],"label":/),
      expect.stringMatching(/^\{"image":\[(0,){12}"… of 784"\],"label":/),
    ])
  })

  test('that is not there is said once', async () => {
    expect(await run(['dataset', 'show', 'minst'])).toMatchObject({
      code: 2,
      stderr: 'tensorfleet: There is no dataset "minst"; there are cars, iris, mnist\n',
    })
  })
})

describe('help and wrong use', () => {
  test.each(COMMANDS)('%s explains itself', async (command) => {
    const { code, stdout } = await run([command, '--help'])
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`Usage: tensorfleet ${command}`),
    })
  })

  test.each([
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['ps', '--bogus'], "unknown option '--bogus'"],
    [['dataset', 'show', 'iris', '-n', 'x'], 'Cannot use "x": expected a whole number above 0'],
    [['dataset', 'add', 'a', 'a.csv', '--seed', 'x'], 'Cannot use "x": expected a whole number'],
    [['submit'], "missing required argument 'file'"],
    [['up', '--port', '99999'], 'expected a port, 0 to 65535'],
    [['up', '--workers', '0'], 'expected a whole number above 0'],
    [['ps', '--limit', 'many'], 'expected a whole number above 0'],
    [['download', 'a@b@c'], 'expected NAME, NAME@VERSION or NAME@ALIAS'],
    [['submit', '/nowhere/job.yaml'], 'Cannot read /nowhere/job.yaml: there is no such file'],
    [['submit', '/tmp'], 'Cannot read /tmp: it is a folder'],
  ])('%j is wrong use, and says why', async (args, message) => {
    expect(await run(args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
  })

  test('without a fleet, commands say how to start one', async () => {
    const ran = await run(['ps'], { env: { TENSORFLEET_DATA: files.path } })
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringContaining('Start one with "tensorfleet up"') })
  })

  test('a fleet that does not answer is named', async () => {
    const ran = await run(['ps', '--server', 'http://127.0.0.1:1'])
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringContaining('No fleet answers at http://127.0.0.1:1') })
  })

  test('a token that is not accepted is said so', async () => {
    const ran = await run(['ps'], { env: { TENSORFLEET_DATA: fleet.folder, TENSORFLEET_TOKEN: 'nonsense' } })
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringContaining('TENSORFLEET_TOKEN') })
  })
})

describe('submitting', () => {
  test('prints the id of the job, from YAML, JSON or standard input', async () => {
    const json = JSON.stringify(tinyJob) // which is YAML too
    const path = await file('job.json', json)
    const yaml = await file('job.yaml', json)
    for (const args of [[path], [yaml], ['-']]) {
      const { code, stdout } = await run(['submit', ...args], { input: json })
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^[0-9A-Z]{26}\n$/) })
      await fleet.untilEnded(stdout.trim())
    }
  })

  test('prints the job as JSON when asked to', async () => {
    const { code, stdout } = await run(['submit', '-', '--json'], { input: JSON.stringify(tinyJob) })
    expect(code).toBe(0)
    const { id } = JSON.parse(stdout) as JobView
    expect(await fleet.untilEnded(id)).toMatchObject({ name: 'tiny', state: 'completed' })
  })

  test('under the same key, it submits once', async () => {
    const submit = () => run(['submit', '-', '--key', 'once'], { input: JSON.stringify(tinyJob) })
    const first = await submit()
    expect(await submit()).toEqual(first)
    await fleet.untilEnded(first.stdout.trim())
  })

  test('and watching, it prints each round once and what came of it', async () => {
    const { code, stdout, stderr } = await run(['submit', '-', '--watch'], { input: JSON.stringify(tinyJob) })
    expect(code).toBe(0)
    const rounds = stderr.split('\n').flatMap((line) => /round (\d+)\/\d+/.exec(line)?.[1] ?? [])
    expect(rounds).toEqual([...new Set(rounds)])
    expect(stdout).toMatch(/tiny completed in .*, tested on 10000 examples\n  accuracy \d+\.\d\d %/)
    expect(stdout).toMatch(/model +tiny@\d+\n  trained by worker-1/)
  })

  test.each([
    ['YAML', 'job.yaml', 'name: [1,\n', /job\.yaml is not YAML/],
    ['JSON', 'job.json', '{"name":', /job\.json is not JSON/],
  ])('a file that is not %s is refused', async (_, name, text, message) => {
    const ran = await run(['submit', await file(name, text)])
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  })

  const layers = tinyJob.model.config.layers
  const withLayers = (changed: readonly object[]) => ({
    ...tinyJob,
    model: { class_name: 'Sequential', config: { layers: changed } },
  })
  test.each<[name: string, spec: object, lines: readonly string[]]>([
    [
      'wrong fields, all at once',
      { ...tinyJob, name: '', colour: 'red', train: { ...tinyJob.train, epochs: 1.5, loss: 'foo', replicas: 0 } },
      [
        'The job specification has 5 errors\n',
        '  name: expected a name of 1 to 100 letters',
        '  train.replicas: expected at least 1, found 0\n',
        '  train.epochs: expected a whole number, found 1.5\n',
        '  train.loss: expected one of "sparseCategoricalCrossentropy", "categoricalCrossentropy", "binaryCrossentropy", "meanSquaredError", "meanAbsoluteError", "huber", found "foo"\n',
        '  Unknown field colour\n',
      ],
    ],
    [
      'an unknown dataset',
      { ...tinyJob, dataset: { name: 'minst' } },
      ['dataset.name: expected one of cars, iris, mnist, found minst'],
    ],
    ['an unknown layer', withLayers([{ class_name: 'Lambda', config: {} }]), ['model.config.layers[0]']],
    [
      'a model whose output does not fit the labels',
      withLayers([layers[0], { class_name: 'Dense', config: { units: 7, activation: 'softmax' } }]),
      ['found'],
    ],
    [
      'a kernel larger than its input',
      withLayers([{ class_name: 'Conv2D', config: { filters: 1, kernel_size: 40 } }, ...layers]),
      ['kernel_size: expected at most 28'],
    ],
  ])('a spec with %s is refused, and nothing is created', async (_, spec, lines) => {
    const api = await fleet.api()
    const before = (await api.jobs()).length
    const ran = await run(['submit', '-'], { input: JSON.stringify(spec) })
    expect(ran).toMatchObject({ code: 2, stdout: '' })
    for (const line of lines) expect(ran.stderr).toContain(line)
    expect(await api.jobs()).toHaveLength(before)
  })
})

describe('looking', () => {
  test('ps lists jobs, as a table and as JSON', async () => {
    const table = await run(['ps'])
    expect(table).toMatchObject({ code: 0, stdout: expect.stringMatching(/^.*ID +NAME +STATE +ROUND/) })
    expect(table.stdout).toMatch(new RegExp(`${done.id} +tiny +completed +3/3`))
    const json = JSON.parse((await run(['ps', '--json', '--state', 'completed'])).stdout) as JobView[]
    expect(json).toContainEqual(done)
    const one = JSON.parse((await run(['ps', '--json', '--limit', '1'])).stdout) as JobView[]
    expect(one).toHaveLength(1)
  })

  test('models lists models, as a table and as JSON', async () => {
    expect((await run(['models'])).stdout).toMatch(/tiny +1 +none +\d+\.\d\d %/)
    const models = JSON.parse((await run(['models', '--json'])).stdout) as unknown[]
    expect(models).toContainEqual(expect.objectContaining({ name: 'tiny', version: 1, job: done.id }))
  })

  test('a version gets a stage and an alias, by which it is found from then on, and has a card', async () => {
    expect(await run(['model', 'alias', 'tiny@1', 'champion'])).toMatchObject({ code: 0, stdout: 'tiny@champion is version 1\n' }) // prettier-ignore
    const moved = await run(['model', 'stage', 'tiny@champion', 'production', '--note', 'the best we have'])
    expect(moved).toMatchObject({ code: 0, stdout: 'tiny@1 is in stage production\n' })
    expect((await run(['model', 'alias', 'tiny'])).stdout).toMatch(/champion +1/)
    expect((await run(['model', 'card', 'tiny@champion'])).stdout).toMatch(/^# tiny version 1[^]*production, by local: the best we have$/m) // prettier-ignore
    expect((await run(['model', 'compare', 'tiny', '1', 'champion'])).code).toBe(0)
    expect(await run(['model', 'stage', 'tiny@1', 'live'])).toMatchObject({ code: 2, stderr: expect.stringContaining('stage: expected') }) // prettier-ignore
    await run(['model', 'stage', 'tiny@1', 'none'])
    expect(await run(['model', 'alias', 'tiny', 'champion', '--remove'])).toMatchObject({ code: 0 })
  })

  test('download --format tfjs writes what tf.loadLayersModel reads', async () => {
    const ran = await run(['download', 'tiny@1', '--format', 'tfjs', '--out', files.path])
    expect(ran.code).toBe(0)
    const model = JSON.parse(await readFile(join(files.path, 'tiny-v1', 'model.json'), 'utf8')) as {
      weightsManifest: { paths: string[]; weights: { shape: number[] }[] }[]
    }
    const [group] = model.weightsManifest
    const elements = (group?.weights ?? []).map(({ shape }) => shape.reduce((a, b) => a * b, 1))
    const weights = await readFile(join(files.path, 'tiny-v1', group?.paths[0] ?? ''))
    expect(weights.byteLength).toBe(4 * elements.reduce((a, b) => a + b, 0))
  })

  test('download --format keras writes a folder that Python loads', async () => {
    const ran = await run(['download', 'tiny@1', '--format', 'keras', '--out', files.path, '--json'])
    const names = ['model.json', 'model.safetensors', 'load.py'].map((name) => join(files.path, 'tiny-v1', name))
    expect([ran.code, (JSON.parse(ran.stdout) as { files: string[] }).files]).toEqual([0, names])
    expect(JSON.parse(await readFile(names[0] ?? '', 'utf8'))).toMatchObject({ module: 'keras' })
  })

  test('workers lists workers, as a table and as JSON', async () => {
    expect((await run(['workers'])).stdout).toMatch(/worker-1 +default +idle +0\/1/)
    expect(JSON.parse((await run(['workers', '--json'])).stdout)).toMatchObject([{ id: 'worker-1', slots: 1 }])
  })

  test('logs prints what a job logged, as text and as lines of JSON', async () => {
    const text = await run(['logs', done.id])
    expect(text).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Z info  register: Registered as tiny version 1\n$/),
    })
    expect((await run(['logs', done.id, '--follow'])).stdout).toBe(text.stdout)
    const lines = (await run(['logs', done.id, '--json'])).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toContainEqual(
      expect.objectContaining({ source: 'register', message: 'Registered as tiny version 1' }),
    )
  })

  test('watch shows a job that has ended', async () => {
    expect(await run(['watch', done.id])).toMatchObject({ code: 0, stdout: expect.stringContaining('tiny completed') })
    const events = (await run(['watch', done.id, '--json'])).stdout.trimEnd().split('\n')
    expect(JSON.parse(events[0] ?? '')).toEqual({ type: 'state', job: done })
  })

  test.each([['watch'], ['logs'], ['cancel']])('%s of an unknown job says so', async (command) => {
    expect(await run([command, 'nosuch'])).toMatchObject({ code: 2, stderr: 'tensorfleet: There is no job "nosuch"\n' })
  })
})

test('a watch ended by Ctrl-C leaves the job alone, and cancel ends it', { timeout: 120_000 }, async () => {
  const id = await fleet.submit(smallJob)
  const watched = await run(['watch', id], { when: { says: /small: round 1/, act: (child) => child.kill('SIGINT') } })
  expect(watched).toMatchObject({
    code: 130,
    stderr: expect.stringContaining(`The job goes on: see it again with "tensorfleet watch ${id}"`),
  })
  expect(await run(['cancel', id])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(`${id} is cancell(ing|ed)\n`),
  })
  expect(await run(['watch', id])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`Job ${id} was cancelled`),
  })
  expect(await run(['cancel', done.id])).toMatchObject({ code: 2, stderr: expect.stringContaining('it is completed') })
})

describe('using a model', () => {
  test('download brings topology and weights', async () => {
    const out = join(files.path, 'new', 'folder')
    const { code, stdout } = await run(['download', 'tiny@1', '--out', out])
    const weights = join(out, 'tiny-v1.safetensors')
    const topology = join(out, 'tiny-v1.json')
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${weights}\n${topology}\n` })
    expect(
      createHash('sha256')
        .update(await readFile(weights))
        .digest('hex'),
    ).toBe(done.weights)
    expect(JSON.parse(await readFile(topology, 'utf8'))).toMatchObject({ class_name: 'Sequential' })
    const json = JSON.parse((await run(['download', 'tiny@1', '--out', out, '--json'])).stdout) as object
    expect(json).toMatchObject({ model: { name: 'tiny', version: 1 }, files: [weights, topology] })
  })

  test('predict prints a class for each example, or all there is as JSON', async () => {
    const path = await file('images.json', JSON.stringify([IMAGE, IMAGE]))
    expect(await run(['predict', 'tiny@1', path])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^(\d  \d+\.\d\d %\n){2}$/),
    })
    const json = await run(['predict', 'tiny@1', '-', '--json'], { input: JSON.stringify([IMAGE]) })
    expect(JSON.parse(json.stdout)).toMatchObject({ outputs: [{ length: 10 }], classes: [expect.any(Number)] })
  })

  test('a chain is submitted before any of it has run: the model is what the job before made', async () => {
    const job = { ...tinyJob, name: 'chained', train: { ...tinyJob.train, seed: 2 } }
    const id = (await run(['submit', '-'], { input: JSON.stringify(job) })).stdout.trim()
    const out = join(files.path, 'chained.csv')
    const predicted = await run(['predict', 'chained', '--dataset', 'mnist', '-o', out, '--after', id])
    expect(predicted).toMatchObject({ code: 0, stdout: `${out}\n` })
    expect((await readFile(out, 'utf8')).trimEnd().split('\n')).toHaveLength(10_001)
    const unknown = await run(['evaluate', 'chained', '--dataset', 'mnist', '--after', 'evaluate-NOBODY'])
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('after[0].job: expected a job') })
  })

  test('predict refuses what does not fit the model, and says where', async () => {
    const ran = await run(['predict', 'tiny@1', '-'], { input: '[[1, 2]]' })
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('inputs[0]: expected 28 lists') })
  })

  test.each([['download'], ['predict']])('%s of an unknown model says so', async (command) => {
    const ran = await run([command, 'nosuch', ...(command === 'predict' ? ['-'] : [])], { input: '[]' })
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('"nosuch"') })
  })
})

/** On the fleet of this file. Whatever happens, nobody is shown a stack trace. */
async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const ran = await tensorfleet(args, { ...options, env: options.env ?? { TENSORFLEET_DATA: fleet.folder } })
  expect(`${ran.stdout}${ran.stderr}`).not.toMatch(/^\s+at /m)
  return ran
}

async function file(name: string, content: string): Promise<string> {
  const path = join(files.path, name)
  await writeFile(path, content)
  return path
}

/**
 * The programs of docs/actors.md, taken out of the page as it stands: they compile, and print what the page says. They
 * are put into a folder of this package, as the page tells its reader to.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { has } from '../harness/parts.ts'
import { TestRedis } from '../harness/redis.ts'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const LIMIT_MS = 120_000

interface Block {
  readonly info: string
  readonly text: string
}

const page = await readFile(join(root, 'docs/actors.md'), 'utf8')
const blocks: readonly Block[] = Array.from(
  page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm),
  ([, info = '', text = '']) => ({
    info,
    text,
  }),
)
/** `key=value` of a block's first line. */
const valueIn = ({ info }: Block, key: string): string => new RegExp(`\\b${key}=(\\S+)`).exec(info)?.[1] ?? ''
const programs = blocks.filter((block) => block.info.startsWith('ts'))
const outputs = blocks.filter((block) => block.info.startsWith('text'))

let folder: string
beforeAll(async () => {
  await mkdir(join(root, '.tensorfleet'), { recursive: true })
  folder = await mkdtemp(join(root, '.tensorfleet/docs-'))
  for (const block of programs) await writeFile(join(folder, valueIn(block, 'file')), block.text)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const output = async (file: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
  (await run(process.execPath, [join(folder, file)], { env: { ...process.env, ...env } })).stdout

/** What the compiler says. */
async function compile(): Promise<string> {
  const tsc = run(join(root, 'node_modules/.bin/tsc'), ['-p', folder])
  return tsc.then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  )
}

describe('the page about actors', () => {
  test('has programs, each with a name', () => {
    expect(programs.length).toBeGreaterThan(5)
    expect(programs.filter((block) => valueIn(block, 'file') === '')).toEqual([])
  })

  test('has programs that compile', { timeout: LIMIT_MS }, async () => {
    const config = { extends: '../../tsconfig.json', include: ['*.ts'] }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
    const errors = await compile()
    expect(errors).toBe('')
    // And a wrong event does not.
    const [counter] = programs
    await writeFile(
      join(folder, 'wrong.ts'),
      counter?.text.replace("type: 'add', by: 2", "type: 'add', by: 'two'") ?? '',
    )
    expect(await compile()).toMatch(/^\S+wrong\.ts.*Type 'string' is not assignable to type 'number'/)
    await rm(join(folder, 'wrong.ts'))
  })

  test.each(
    outputs.filter((block) => valueIn(block, 'redis') === '').map((block) => [valueIn(block, 'run'), block.text]),
  )('has a %s that prints what it says', { timeout: LIMIT_MS }, async (file, text) => {
    expect(await output(file)).toBe(text)
  })

  test.skipIf(!has('redis'))('has processes that work together on Redis', { timeout: LIMIT_MS }, async () => {
    const redis = await TestRedis.start()
    onTestFinished(() => redis.stop())
    const env = { ...process.env, REDIS_URL: redis.url }
    for (const block of outputs.filter((each) => valueIn(each, 'redis') !== '')) {
      const node = spawn(process.execPath, [join(folder, valueIn(block, 'redis'))], { env })
      onTestFinished(() => void node.kill('SIGKILL'))
      await once(node.stdout, 'data')
      expect(await output(valueIn(block, 'run'), env)).toBe(block.text)
      const exit = once(node, 'exit')
      node.kill('SIGTERM')
      expect(await exit).toEqual([0, null])
    }
  })

  test('shows the order of examples/order.ts', async () => {
    const example = await readFile(join(root, 'examples/order.ts'), 'utf8')
    const states = (text: string) => Array.from(text.matchAll(/^ {4}(\w+): \{/gm), ([, name]) => name)
    const shown = programs.find((block) => valueIn(block, 'file') === 'order.ts')
    expect(states(shown?.text ?? '')).toEqual(states(example))
    expect(states(example).length).toBeGreaterThan(5)
  })
})

/**
 * The rules of the house, held and seen to be held. A check that looks at nothing passes too (dependency-cruiser prints
 * a tick over 0 modules when its TypeScript is missing), so each rule is broken once, in a small house built for that
 * with the real configuration files, and must be caught there, and nothing else with it.
 */
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { importViolations, lintViolations, sound, type Violation } from './violations.ts'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const FOLDERS = [
  'machines',
  'runtime',
  'kernels',
  'stores',
  'actors',
  'gateway',
  'otel',
  'cli',
  'bench',
  'tests',
] as const
/** Far below what stands here today; a check that sees fewer has lost its eyes. */
const MODULES_MIN = 60

interface Finding {
  readonly file: string
  readonly rule: string
}

describe('the house as it stands', () => {
  test('keeps its import directions, and the check sees every file', async () => {
    const { modules, findings } = await cruise(root)
    expect(findings).toEqual([])
    expect(modules.size).toBeGreaterThan(MODULES_MIN)
    for (const folder of FOLDERS) {
      const entries = await readdir(join(root, folder), { recursive: true })
      const sources = entries.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name))
      expect(sources.filter((path) => !modules.has(path))).toEqual([])
    }
  })
})

describe('a house with one violation of each rule', () => {
  let found: readonly Finding[] = []
  let seen = new Set<string>()

  beforeAll(async () => {
    const folder = await buildHouse([...importViolations, ...lintViolations])
    try {
      const { modules, findings } = await cruise(folder)
      seen = modules
      found = [...findings, ...(await lint(folder))]
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test.each([...importViolations, ...lintViolations])('$rule catches: $breaks', ({ rule, file }) => {
    expect(found).toContainEqual({ file, rule })
  })

  test('what is sound in it is not accused', () => {
    expect([...seen]).toEqual(expect.arrayContaining(Object.keys(sound)))
    expect(found.filter(({ file }) => Object.hasOwn(sound, file))).toEqual([])
  })

  test('each broken file is accused of what it breaks and of nothing else', () => {
    const planted = [...importViolations, ...lintViolations].map(({ file, rule }) => `${file}: ${rule}`)
    const unexpected = found.map(({ file, rule }) => `${file}: ${rule}`).filter((line) => !planted.includes(line))
    expect(unexpected).toEqual([])
  })
})

test('every rule of the import directions is broken by one of the planted files', async () => {
  const folder = await buildHouse([])
  onTestFinished(() => rm(folder, { recursive: true }))
  const { rules } = await cruise(folder)
  const broken = new Set(importViolations.map(({ rule }) => rule))
  expect(rules.filter((rule) => !broken.has(rule))).toEqual([])
})

/** A folder with our configuration, packages that are nothing but names, and the files of a small house. */
async function buildHouse(violations: readonly Violation[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tf-house-'))
  for (const name of ['.dependency-cruiser.cjs', '.oxlintrc.json', 'tsconfig.json']) {
    await copyFile(join(root, name), join(folder, name))
  }
  const packages = ['xstate', 'ioredis', '@opentelemetry/api', 'hono', 'vitest']
  const dependencies = Object.fromEntries(packages.map((name) => [name, '1.0.0']))
  const files: Record<string, string> = { ...sound }
  for (const { file, text, beside } of violations) Object.assign(files, { [file]: text }, beside)
  files['package.json'] = JSON.stringify({ name: 'house', type: 'module', dependencies })
  for (const name of packages) {
    files[`node_modules/${name}/package.json`] = JSON.stringify({ name, version: '1.0.0', main: 'index.js' })
    files[`node_modules/${name}/index.js`] = 'exports.thing = 1\n'
    files[`node_modules/${name}/index.d.ts`] = 'export declare const thing: number\n'
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, dirname(path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  for (const scope of ['@types', '@webgpu']) {
    await symlink(join(root, 'node_modules', scope), join(folder, 'node_modules', scope))
  }
  return folder
}

interface CruiseResult {
  readonly modules: readonly { readonly source: string }[]
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string } }[]
    readonly ruleSetUsed: { readonly forbidden: readonly { readonly name: string }[] }
  }
}

async function cruise(
  folder: string,
): Promise<{ modules: Set<string>; findings: readonly Finding[]; rules: readonly string[] }> {
  const args = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json', '.']
  const result = JSON.parse(await outputOf('depcruise', args, folder)) as CruiseResult // its documented shape
  const { violations, ruleSetUsed } = result.summary
  return {
    modules: new Set(result.modules.map(({ source }) => source)),
    findings: violations.map(({ from, rule }) => ({ file: from, rule: rule.name })),
    rules: ruleSetUsed.forbidden.map(({ name }) => name),
  }
}

interface LintResult {
  readonly diagnostics: readonly { readonly code: string; readonly filename: string }[]
}

async function lint(folder: string): Promise<readonly Finding[]> {
  const args = ['--type-aware', '--deny-warnings', '--format', 'json', '.']
  const { diagnostics } = JSON.parse(await outputOf('oxlint', args, folder)) as LintResult // its documented shape
  return diagnostics.map(({ code, filename }) => ({ file: filename, rule: code }))
}

/** What a checker prints. Both end with a code above 0 when they find something, which is what is hoped for here. */
async function outputOf(name: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await run(join(root, 'node_modules/.bin', name), args, { cwd, maxBuffer: 64 * 1024 * 1024 })
    return stdout
  } catch (error) {
    const { stdout } = error as { stdout?: string } // as execFile documents its errors
    if (stdout === undefined || !stdout.trimStart().startsWith('{')) throw error
    return stdout
  }
}

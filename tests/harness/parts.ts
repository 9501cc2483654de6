/**
 * The real parts that tests need and a machine may lack. This is vitest's global set-up: what is not there and can be
 * had without root is got (Debian's redis-server, unpacked below `.tensorfleet/`); what cannot be had is said plainly, and
 * the tests that need it are skipped. With CI=true a missing part is a failure, so that no test is ever lost in silence;
 * but for TensorFlow, some hundred megabytes which not every network lets through.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { INSTALLED_FILE } from '../../kernels/backends/installed.ts'
import { SWIFTSHADER, SWIFTSHADER_FOLDERS } from '../../kernels/launch.ts'
import { getDebianRedis } from '../../cli/redis-servers/debian-package.ts'
import { chromiumPath } from '../dashboards/chromium.ts'

type Part = 'redis' | 'chromium' | 'software-gpu' | 'tensorflow' | 'keras'

const MISSING = 'TENSORFLEET_MISSING_PARTS'

/** Where the back ends are installed that are no dependencies: shared by all working copies where this says so. */
export const backendsDir = resolve(process.env['TENSORFLEET_BACKENDS'] ?? '.tensorfleet/backends')

/** A Python that may have Keras and safetensors. */
export const PYTHON = process.env['TENSORFLEET_PYTHON'] ?? 'python3'

/** Whether tests can have this part; for `describe.skipIf(!has('redis'))`. */
export function has(part: Part): boolean {
  return !(process.env[MISSING] ?? '').split(',').includes(part)
}

export async function setup(): Promise<() => void> {
  const missing = new Map<Part, string>()
  const noRedis = await findRedis()
  if (noRedis !== null) missing.set('redis', noRedis)
  if (chromiumPath === undefined) missing.set('chromium', 'install chromium to test the page')
  if (!SWIFTSHADER_FOLDERS.some((folder) => existsSync(join(folder, SWIFTSHADER)))) {
    missing.set('software-gpu', 'install chromium, which brings SwiftShader, to test WebGPU without a GPU')
  }
  if (!existsSync(join(backendsDir, 'tensorflow', INSTALLED_FILE))) {
    missing.set('tensorflow', 'run "npx tensorfleet backends install tensorflow" to test the back end on TensorFlow')
  }
  if (!hasPythonModules('keras', 'tensorflow', 'safetensors')) {
    missing.set(
      'keras',
      'name a Python with tensorflow and safetensors in TENSORFLEET_PYTHON to test what Python reads',
    )
  }
  process.env[MISSING] = [...missing.keys()].join(',')
  const said = [...missing].map(([part, why]) => `  ${part}: ${why}`).join('\n')
  const needed = [...missing.keys()].filter((part) => part !== 'tensorflow' && part !== 'keras')
  if (needed.length > 0 && process.env['CI'] === 'true')
    throw new Error(`With CI=true nothing may be missing:\n${said}`)
  return () => {
    if (missing.size > 0)
      process.stdout.write(`\nNot to be had here, so the tests that need it were skipped:\n${said}\n`)
  }
}

/** Found without importing them, which takes seconds. */
function hasPythonModules(...names: readonly string[]): boolean {
  const look = `import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in ${JSON.stringify(names)}))`
  try {
    execFileSync(PYTHON, ['-c', look], { stdio: 'ignore' })
    return true
  } catch {
    return false // no Python, or not with these
  }
}

/** Puts a redis-server on the PATH of all tests. Returns why there is none, or null. */
async function findRedis(): Promise<string | null> {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return null
  } catch {
    // Not on the PATH: Debian's package does without an installation.
  }
  const dataDir = resolve('.tensorfleet/test-parts')
  const found = await getDebianRedis({ dataDir, env: process.env, note: (line) => process.stdout.write(`${line}\n`) })
  if ('reason' in found) return found.reason
  const bin = join(dataDir, 'bin')
  await mkdir(bin, { recursive: true })
  const libraries = found.env['LD_LIBRARY_PATH'] ?? ''
  const script = `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${found.command}' "$@"\n`
  await writeFile(join(bin, 'redis-server'), script)
  await chmod(join(bin, 'redis-server'), 0o755)
  process.env['PATH'] = `${bin}${delimiter}${process.env['PATH'] ?? ''}`
  return null
}

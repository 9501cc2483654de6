/**
 * Sets up a back end that is no dependency: TensorFlow, in a folder of its own below the backends folder. First the
 * package of tfjs for Node, without the parts of tfjs that we have; then its add-on, which is machine code:
 *
 * - `download`: what the package's own install step fetches, where that can be reached;
 * - `build`: compiled here (ten seconds, a C++ compiler) against a libtensorflow that is on this machine, by default the
 *   one that pip has in TensorFlow's wheel. The add-on speaks Node-API, so any Node runs it.
 *
 * Whatever came of it is tried in a kernel process before it takes its place: an installation that is there works, and
 * one that fails leaves the former as it was.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { INSTALLED_FILE } from './backends/installed.ts'
import type { InstallableName, Installation } from './backends/installed.ts'
import { KernelError } from './errors.ts'
import { INSTALL_LIMIT_MS } from './limits.ts'
import { KernelProcess } from './process.ts'

export interface InstallOptions {
  name: InstallableName
  backendsDir: string
  /** Where the add-on may come from; `auto` tries `download` first. */
  source: 'auto' | 'download' | 'build'
  /** A folder that holds libtensorflow and its headers: Python's package, or an unpacked archive of the C library. */
  library?: string
  /** Tells a person what is going on, line by line. */
  say: (line: string) => void
  signal?: AbortSignal
}

export interface Installed extends Installation {
  folder: string
  engine: string
  fingerprint: string
}

const PACKAGE_VERSION = '4.22.0'
const HEADERS_VERSION = '1.9.0'

interface Flavour {
  packageName: string
  /** What pip calls the library, in the order of trying; with what it needs, where the library does not work alone. */
  wheels: { name: string; withDependencies: boolean }[]
}

const FLAVOURS: Record<InstallableName, Flavour> = {
  tensorflow: {
    packageName: '@tensorflow/tfjs-node',
    wheels: [
      { name: 'tensorflow-cpu', withDependencies: false },
      { name: 'tensorflow', withDependencies: false },
    ],
  },
  'tensorflow-gpu': {
    packageName: '@tensorflow/tfjs-node-gpu',
    // The library finds CUDA's in the packages beside its own.
    wheels: [{ name: 'tensorflow[and-cuda]', withDependencies: true }],
  },
}

export async function installBackend(options: InstallOptions): Promise<Installed> {
  const { name, backendsDir, say } = options
  const trial = resolve(backendsDir, `.installing-${process.pid}`)
  const folder = join(trial, name)
  try {
    await mkdir(folder, { recursive: true })
    const addon = await addonFor(options, folder)
    await rm(join(folder, 'node_modules', '@tensorflow', 'tfjs'), { recursive: true, force: true }) // see `getPackage`
    await writeFile(join(folder, INSTALLED_FILE), `${JSON.stringify(addon, null, 2)}\n`)
    say(`trying it in a kernel process …`)
    const info = await tryOut(name, trial)
    const installation: Installation = { ...addon, libraryVersion: info.engine.match(/TensorFlow ([^,]+)/)?.[1] ?? '' }
    await writeFile(join(folder, INSTALLED_FILE), `${JSON.stringify(installation, null, 2)}\n`)
    const place = resolve(backendsDir, name)
    await rm(place, { recursive: true, force: true })
    await rename(folder, place)
    return { ...installation, ...info, folder: place }
  } finally {
    await rm(trial, { recursive: true, force: true })
  }
}

async function addonFor(
  options: InstallOptions,
  folder: string,
): Promise<Omit<Installation, 'libraryVersion'> & { libraryVersion: '' }> {
  const { name, source, library, say } = options
  const { packageName } = FLAVOURS[name]
  await getPackage(options, folder)
  const packageFolder = join('node_modules', ...packageName.split('/'))
  const made = { packageName, packageVersion: PACKAGE_VERSION, libraryVersion: '', packageJson: join(packageFolder, 'package.json') } as const // prettier-ignore
  if (source !== 'build' && library === undefined) {
    say(`asking the package for its own download …`)
    try {
      await run(options, 'npm', ['rebuild', packageName], folder)
      const addon = await findAddon(folder, join(packageFolder, 'lib'))
      return { ...made, origin: 'download', addon }
    } catch (error) {
      if (source === 'download') throw error
      say(`  not to be had (${lastLine(error)}): building it instead`)
    }
  }
  const { path, origin } = await getLibrary(options, folder)
  return { ...made, origin, addon: await build(options, folder, packageFolder, path) }
}

/** The package and what its install step needs; for all of tfjs, which it wants too, its core stands in. */
async function getPackage(options: InstallOptions, folder: string): Promise<void> {
  const { packageName } = FLAVOURS[options.name]
  options.say(`getting ${packageName} ${PACKAGE_VERSION} …`)
  const overrides = { '@tensorflow/tfjs': `npm:@tensorflow/tfjs-core@${PACKAGE_VERSION}` }
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, overrides }))
  const packages = [`${packageName}@${PACKAGE_VERSION}`, `node-api-headers@${HEADERS_VERSION}`]
  await run(options, 'npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], folder)
}

async function findAddon(folder: string, lib: string): Promise<string> {
  for (const entry of await readdir(join(folder, lib), { recursive: true })) {
    if (basename(entry) === 'tfjs_binding.node') return join(lib, entry)
  }
  throw new KernelError('backend.unavailable', 'The package was installed, and has no add-on')
}

/** A folder with the library and its headers: the one given, that of an installed Python package, or of a wheel. */
async function getLibrary(options: InstallOptions, folder: string): Promise<{ path: string; origin: string }> {
  const { library, say, name } = options
  if (library !== undefined) return { path: resolve(library), origin: resolve(library) }
  const found = await installedInPython(options, folder)
  if (found !== undefined && name === 'tensorflow') {
    say(`using the libtensorflow of Python's package, ${found}`)
    return { path: found, origin: found }
  }
  const failures: string[] = []
  for (const { name: wheel, withDependencies } of FLAVOURS[name].wheels) {
    say(`getting libtensorflow from pip's ${wheel} (some hundred MB) …`)
    const target = join(folder, 'python')
    const alone = withDependencies ? [] : ['--no-deps']
    try {
      await run(options, PYTHON, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile', '--only-binary=:all:', ...alone, '--target', target, wheel], folder) // prettier-ignore
      return { path: join(target, 'tensorflow'), origin: wheel }
    } catch (error) {
      failures.push(`${wheel}: ${lastLine(error)}`)
    }
  }
  throw new KernelError(
    'backend.unavailable',
    `No libtensorflow can be had: name a folder that holds one, or make python3 with pip reach a package index (${failures.join('; ')})`,
  )
}

async function installedInPython(options: InstallOptions, folder: string): Promise<string | undefined> {
  const ask =
    'import importlib.util as u; s = u.find_spec("tensorflow"); print(s.submodule_search_locations[0] if s else "")'
  const place = await run(options, PYTHON, ['-c', ask], folder).catch(() => '') // no Python: pip will say so
  return place.trim() !== '' && existsSync(place.trim()) ? place.trim() : undefined
}

/** Two source files, one command: node-gyp would do the same with a download of Node's headers more. */
async function build(options: InstallOptions, folder: string, packageFolder: string, library: string): Promise<string> {
  const { say } = options
  const lib = await libraryFolder(library)
  const include = [join(library, 'include'), library].find((path) => existsSync(join(path, 'tensorflow/c/c_api.h')))
  if (include === undefined) {
    throw new KernelError('backend.unavailable', `${library} has no headers: expected include/tensorflow/c/c_api.h`)
  }
  // The linker wants names without versions.
  const links = join(folder, 'link')
  await mkdir(links)
  await symlink(lib.tensorflow, join(links, `libtensorflow.${LIBRARY_ENDING}`))
  await symlink(lib.framework, join(links, `libtensorflow_framework.${LIBRARY_ENDING}`))
  const own = library.startsWith(folder)
  const origin = process.platform === 'darwin' ? '@loader_path' : '$ORIGIN'
  const searchPath = own ? join(origin, dirname(lib.tensorflow).slice(folder.length + 1)) : dirname(lib.tensorflow)
  const addon = 'tfjs_binding.node'
  say(`building the add-on against ${basename(lib.tensorflow)} …`)
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map((file) => join(packageFolder, 'binding', file))
  const undefinedLater = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []
  await run(options, process.env['CXX'] ?? 'c++', [
    '-std=c++17', '-O2', '-fPIC', '-shared', '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding',
    `-I${join('node_modules', 'node-api-headers', 'include')}`, `-I${include}`, ...sources, '-o', addon,
    `-L${links}`, '-ltensorflow', '-ltensorflow_framework', `-Wl,-rpath,${searchPath}`, ...undefinedLater,
  ], folder) // prettier-ignore
  await rm(links, { recursive: true })
  if (own) await keepLibrariesOnly(library)
  return addon
}

const LIBRARY_ENDING = process.platform === 'darwin' ? 'dylib' : 'so'

/** In Python's package the C library is part of libtensorflow_cc. */
async function libraryFolder(library: string): Promise<{ tensorflow: string; framework: string }> {
  for (const folder of [library, join(library, 'lib')]) {
    const files = await readdir(folder).catch(() => []) // one of the two need not be there
    const named = (pattern: RegExp): string | undefined => files.filter((file) => pattern.test(file)).toSorted()[0]
    const tensorflow = named(/^libtensorflow_cc\.(so|2|dylib)/) ?? named(/^libtensorflow\.(so|2|dylib)/)
    const framework = named(/^libtensorflow_framework\.(so|2|dylib)/)
    if (tensorflow && framework) return { tensorflow: join(folder, tensorflow), framework: join(folder, framework) }
  }
  throw new KernelError('backend.unavailable', `${library} holds no libtensorflow`)
}

/** Of a wheel that only we use, what is Python's goes: it is half of the megabytes. */
async function keepLibrariesOnly(library: string): Promise<void> {
  for (const entry of await readdir(library)) {
    if (!entry.startsWith('libtensorflow')) await rm(join(library, entry), { recursive: true, force: true })
  }
}

async function tryOut(name: InstallableName, backendsDir: string): Promise<{ engine: string; fingerprint: string }> {
  const scratch = join(backendsDir, 'scratch')
  await using kernel = new KernelProcess({ backend: name, cacheDir: scratch, scratchDir: scratch, backendsDir })
  const { engine = '', fingerprint } = await kernel.start()
  return { engine, fingerprint }
}

const PYTHON = process.platform === 'win32' ? 'python' : 'python3'

/** Runs a program to its end and returns what it printed; its last words are the error. */
async function run({ signal }: InstallOptions, command: string, args: string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, {
      cwd,
      ...(signal && { signal }),
      timeout: INSTALL_LIMIT_MS,
      maxBuffer: 64 * 1024 * 1024,
      shell: process.platform === 'win32', // npm is a script there
    })
    return stdout
  } catch (error) {
    signal?.throwIfAborted()
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    const reason = missing ? 'there is no such program here' : lastLine(error)
    throw new KernelError(
      'backend.unavailable',
      `${command} ${args[0] ?? ''} failed: ${reason}`,
      { command, args },
      error,
    )
  }
}

/** The line of a program's last words that says the most. */
function lastLine(error: unknown): string {
  const words = error instanceof Error && 'stderr' in error ? String(error.stderr) : ''
  const lines = words.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('npm notice')) // prettier-ignore
  const telling = lines.find((line) => /ENOTFOUND|ECONN|ETIMEDOUT|error|not found|cannot/i.test(line) && !line.startsWith('npm ')) // prettier-ignore
  return telling ?? lines.at(-1) ?? (error instanceof Error ? error.message : String(error))
}

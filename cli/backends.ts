/** `tensorfleet backends`: which back ends this host has, and setting up those that are no dependencies. */
import { Argument, Option } from 'commander'
import type { Command } from 'commander'
import type { HostBackend, InstallableName } from '../kernels/mod.ts'
import { DataDir } from './data-dir.ts'
import { note, print, printJson, table } from './output.ts'

interface PlaceOptions {
  readonly data: string
  readonly backends?: string
}

/** As a record, so that none can be missing. */
const INSTALLABLE: Record<InstallableName, true> = { tensorflow: true, 'tensorflow-gpu': true }

/** Where back ends are installed: in the data folder, unless one place is to serve several of those. */
export function backendsDirOf({ data, backends }: PlaceOptions): string {
  return backends ?? DataDir.at(data).file('backends')
}

export function backendsOption(): Option {
  return new Option(
    '--backends <folder>',
    'where back ends are installed; in the data folder where this is not said',
  ).env('TENSORFLEET_BACKENDS')
}

export function addBackendsCommand(program: Command, data: () => Option, signal: AbortSignal): void {
  const backends = program.command('backends').description('see what this host computes with, and install more')

  backends
    .command('ls')
    .description('start each back end once and say what it is, or why it is not there')
    .addOption(data())
    .addOption(backendsOption())
    .option('--json', 'print JSON')
    .action(async (options: PlaceOptions & { json?: boolean }) => {
      const { hostBackends } = await import('../kernels/mod.ts')
      const found = await hostBackends(backendsDirOf(options))
      if (options.json === true) printJson(found)
      else print(table(['BACK END', 'HERE', 'WHAT IT IS, OR WHY NOT'], found.map(row)))
    })

  backends
    .command('install')
    .description('set up TensorFlow as a back end: by the download of its package, or built against a libtensorflow')
    .addArgument(new Argument('<name>', 'the back end').choices(Object.keys(INSTALLABLE)))
    .addOption(data())
    .addOption(backendsOption())
    .addOption(
      new Option('--source <source>', 'where the add-on comes from')
        .choices(['auto', 'download', 'build'])
        .default('auto'),
    )
    .option('--library <folder>', "build against the libtensorflow in this folder (Python's package, for one)")
    .option('--json', 'print JSON')
    .action(
      async (name: InstallableName, options: PlaceOptions & { json?: boolean; source: 'auto'; library?: string }) => {
        const { installBackend } = await import('../kernels/mod.ts')
        const { source, library } = options
        const installed = await installBackend({
          name,
          source,
          ...(library !== undefined && { library }),
          backendsDir: backendsDirOf(options),
          say: note,
          signal,
        })
        if (options.json === true) printJson(installed)
        else print(`${name} is ready in ${installed.folder}: ${installed.engine}`)
      },
    )
}

function row(found: HostBackend): string[] {
  if (!found.isThere) return [found.name, 'no', found.reason]
  const what = found.engine ?? "tfjs's own"
  return [found.name, 'yes', found.device?.isHardware === false ? `${what} (software, only on demand)` : what]
}

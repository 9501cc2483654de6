/** What every command that talks to a running fleet has in common: where the API is, and `--json`. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { findApi } from './api.ts'
import type { Api } from './api.ts'

export interface CommonOptions {
  readonly data: string
  readonly server?: string
  readonly json?: boolean
}

export type Run<Arguments extends readonly unknown[]> = (
  api: Api,
  options: CommonOptions & Record<string, unknown>,
  ...args: Arguments
) => Promise<void>

/** Gives a command its common options, finds the API, and runs it. */
export function onApi<Arguments extends readonly unknown[]>(command: Command, run: Run<Arguments>): void {
  command
    .addOption(
      new Option('--data <folder>', 'data folder of the fleet').env('TENSORFLEET_DATA').default('.tensorfleet'),
    )
    .addOption(
      new Option('--server <url>', "the API's address, where it is not what runs on the data folder").env(
        'TENSORFLEET_URL',
      ),
    )
    .option('--json', 'print JSON')
    .action(async (...given: unknown[]) => {
      const args = given.slice(0, -2) as unknown as Arguments // commander gives the arguments, then options and command
      const options = given.at(-2) as CommonOptions & Record<string, unknown>
      await run(await findApi({ ...options, env: process.env }), options, ...args)
    })
}

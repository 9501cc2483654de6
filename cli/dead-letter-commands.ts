/** `tensorfleet dead-letters`: messages that no actor could take. See them, mend them, send them again, or drop them. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { onApi } from './api-command.ts'
import type { DeadLetterView } from './api.ts'
import { CliError, EXIT } from './errors.ts'
import { ago, note, print, printJson, table } from './output.ts'
import { parseJson, readText } from './spec-file.ts'

export function addDeadLetterCommands(program: Command): void {
  const letters = program.command('dead-letters').description('messages that no actor could take')
  const one = (name: string): Command => letters.command(name).argument('<letter>', "the letter's id")

  onApi(
    letters
      .command('ls')
      .description('list them, by shard and the oldest first')
      .option('-n, --limit <count>', 'at most so many', Number, 50),
    async (api, options) => {
      const found = await api.deadLetters({ limit: options['limit'] as number })
      if (options.json === true) printJson(found)
      else if (found.length === 0) note('No dead letters.')
      else print(table(['ID', 'TO', 'WHAT', 'WHY', 'AGE'], found.map(row)))
    },
  )

  onApi<[string]>(one('show').description('show one whole'), async (api, _options, id) => {
    printJson(await api.deadLetter(id))
  })

  onApi<[string]>(one('resend').description('send one again, as it is'), async (api, options, id) => {
    await api.resendDeadLetter(id)
    if (options.json === true) printJson({ id, sent: true })
    else print(`${id} is sent`)
  })

  onApi<[string]>(
    one('edit')
      .description('send one again with another event: from a file, or from your $EDITOR')
      .option('--event <file>', 'the event as JSON; - for standard input'),
    async (api, options, id) => {
      const file = options['event'] as string | undefined
      const letter = await api.deadLetter(id)
      const text = file === undefined ? await edited(JSON.stringify(letter.content, null, 2)) : await readText(file)
      await api.resendDeadLetter(id, parseJson(file ?? 'what you wrote', text))
      if (options.json === true) printJson({ id, sent: true })
      else print(`${id} is sent, edited`)
    },
  )

  onApi<[string]>(one('drop').description('drop one for good'), async (api, options, id) => {
    await api.dropDeadLetter(id)
    if (options.json === true) printJson({ id, dropped: true })
    else print(`${id} is dropped`)
  })
}

function row({ id, to, kind, content, fault, at }: DeadLetterView): readonly string[] {
  const { type: what = kind } = content as { readonly type?: string } // an event has one
  const [why = ''] = fault.message.split('\n')
  return [id, to, what, why.length > 60 ? `${why.slice(0, 59)}…` : why, ago(at)]
}

/** What a person makes of the text in their editor. */
async function edited(text: string): Promise<string> {
  const editor = process.env['VISUAL'] ?? process.env['EDITOR']
  if (editor === undefined || editor === '') {
    throw new CliError('Cannot open an editor: EDITOR is not set', {
      exitCode: EXIT.usage,
      details: ['Set EDITOR, or give the event with --event FILE.'],
    })
  }
  const folder = await mkdtemp(join(tmpdir(), 'tensorfleet-'))
  try {
    const path = join(folder, 'event.json')
    await writeFile(path, `${text}\n`)
    // Through a shell, since EDITOR may have arguments of its own: "code --wait".
    const { status } = spawnSync('/bin/sh', ['-c', `${editor} "$1"`, 'sh', path], { stdio: 'inherit' })
    if (status !== 0) throw new CliError('The editor ended with an error: nothing is sent', { exitCode: EXIT.failed })
    return await readFile(path, 'utf8')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

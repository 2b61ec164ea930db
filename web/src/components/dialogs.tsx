// SPDX-License-Identifier: MIT
// Which dialog is open, and the smaller ones; the settings are in settings.tsx.
import { signal } from '@preact/signals';
import { type Chat, type Folder, type Prompt } from '../api';
import { t } from '../i18n';
import { closeSettings, settingsAt } from '../route';
import { editChat, folders } from '../store';
import { FolderDialog } from './folder';
import { Icon } from './icon';
import { lazy } from './lazy';
import { SettingsDialog } from './settings';
import { ToolsDialog } from './toolbox';
import { Confirm, Dialog } from './ui';

export type Open =
  | { name: 'folder'; folder: Folder | null }
  | { name: 'move'; chat: Chat }
  | { name: 'rename'; chat: Chat }
  | { name: 'share'; chat: Chat }
  | { name: 'fill'; prompt: Prompt; use: (text: string) => void }
  | { name: 'keys' }
  | { name: 'tools' }
  | { name: 'ask'; text: string; act: string; yes: () => void };

export const dialog = signal<Open | null>(null);
const ShareDialog = lazy(() => import('./share').then((m) => m.ShareDialog), true);
export const close = (): void => {
  dialog.value = null;
};

export function Dialogs() {
  const now = dialog.value;
  const at = settingsAt.value;
  if (!now && at !== null) return <SettingsDialog at={at} onClose={closeSettings} />;
  switch (now?.name) {
    case 'folder':
      return <FolderDialog folder={now.folder} />;
    case 'move':
      return <MoveDialog chat={now.chat} />;
    case 'rename':
      return <RenameDialog chat={now.chat} />;
    case 'share':
      return <ShareDialog chat={now.chat} onClose={close} />;
    case 'fill':
      return <FillDialog prompt={now.prompt} use={now.use} />;
    case 'keys':
      return <KeysDialog />;
    case 'tools':
      return <ToolsDialog onClose={close} />;
    case 'ask':
      return <Confirm text={now.text} act={now.act} onYes={now.yes} onClose={close} />;
    default:
      return null;
  }
}

export const field = (form: HTMLFormElement, name: string): string =>
  String(new FormData(form).get(name) ?? '').trim();

/** The end of a dialog's form. */
export function FormFoot({ act }: { act: string }) {
  return (
    <div class="foot-row">
      <button type="button" class="b line" onClick={close}>
        {t('cancel')}
      </button>
      <button class="b main">{act}</button>
    </div>
  );
}

function MoveDialog({ chat }: { chat: Chat }) {
  const move = (folder: string | null): void => {
    close();
    void editChat(chat.id, { folder });
  };
  return (
    <Dialog title={t('moveTo')} onClose={close}>
      <ul class="choices">
        {[null, ...folders.value].map((f) => (
          <li key={f?.id ?? ''}>
            <button
              type="button"
              class="row-in"
              aria-pressed={chat.folder === (f?.id ?? null)}
              onClick={() => move(f?.id ?? null)}
            >
              <Icon name={f ? 'folder' : 'x'} />
              <span>{f?.name ?? t('folderNone')}</span>
              {chat.folder === (f?.id ?? null) && <Icon name="check" />}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function RenameDialog({ chat }: { chat: Chat }) {
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const title = field(e.currentTarget as HTMLFormElement, 'title');
    if (title) void editChat(chat.id, { title });
    close();
  };
  return (
    <Dialog title={t('rename')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <label>
          {t('chatTitle')}
          <input
            class="field"
            name="title"
            required
            maxLength={200}
            defaultValue={chat.title}
            autoFocus
          />
        </label>
        <FormFoot act={t('save')} />
      </form>
    </Dialog>
  );
}

/** The places of a prompt to fill in: {{name}}, each once. */
export function variables(text: string): string[] {
  return [...new Set([...text.matchAll(/\{\{\s*([^{}]{1,60}?)\s*\}\}/gu)].map((m) => m[1]!))];
}
export function filled(text: string, values: Record<string, string>): string {
  return text.replace(
    /\{\{\s*([^{}]{1,60}?)\s*\}\}/gu,
    (whole, name: string) => values[name] ?? whole,
  );
}

function FillDialog({ prompt, use }: { prompt: Prompt; use: (text: string) => void }) {
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const data = new FormData(e.currentTarget as HTMLFormElement);
    const values = Object.fromEntries([...data].map(([k, v]) => [k, String(v)]));
    close();
    use(filled(prompt.text, values));
  };
  return (
    <Dialog title={t('promptFill')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <p class="lede">
          <b dir="auto">{prompt.name}</b>
        </p>
        {variables(prompt.text).map((name, i) => (
          <label key={name}>
            {name}
            <textarea class="field" name={name} rows={1} required autoFocus={i === 0} />
          </label>
        ))}
        <FormFoot act={t('insert')} />
      </form>
    </Dialog>
  );
}

export function Keys() {
  const keys: [string, string][] = [
    ['Enter', t('send')],
    ['Shift Enter', t('newline')],
    ['Esc', t('key_stop')],
    ['Ctrl Shift O', t('key_new')],
    ['Ctrl K', t('key_find')],
    ['Ctrl B', t('key_side')],
    ['/', t('key_focus')],
    ['Alt 1 – 4', t('key_starter')],
    ['?', t('key_help')],
  ];
  return (
    <dl class="keys">
      {keys.map(([key, what]) => (
        <div key={key}>
          <dt>
            <kbd>{key}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
function KeysDialog() {
  return (
    <Dialog title={t('set_keys')} onClose={close}>
      <Keys />
    </Dialog>
  );
}

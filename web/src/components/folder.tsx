// SPDX-License-Identifier: MIT
// A folder: its name, and the instructions and files that all its chats are given.
import { useState } from 'preact/hooks';
import { api, type FileInfo, type Folder } from '../api';
import { readFile } from '../files/read';
import { bytes, t } from '../i18n';
import { fail, saveFolder } from '../store';
import { close, field, FormFoot } from './dialogs';
import { Icon } from './icon';
import { Dialog, IconButton } from './ui';

const FILES_MAX = 20;

export function FolderDialog({ folder }: { folder: Folder | null }) {
  const [files, setFiles] = useState<FileInfo[]>(folder?.files ?? []);
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const form = e.currentTarget as HTMLFormElement;
    const name = field(form, 'name');
    if (!name) return;
    const value = { name, instructions: field(form, 'instructions') };
    void saveFolder(folder?.id ?? null, value, { was: folder?.files ?? [], now: files });
    close();
  };
  return (
    <Dialog title={folder ? t('folderEdit') : t('newFolder')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <label>
          {t('folderName')}
          <input
            class="field"
            name="name"
            required
            maxLength={100}
            defaultValue={folder?.name}
            autoFocus
          />
        </label>
        <label>
          {t('folderInstructions')}
          <textarea
            class="field"
            name="instructions"
            rows={4}
            maxLength={8000}
            defaultValue={folder?.instructions}
          />
        </label>
        <p class="muted">{t('folderInstructionsHint')}</p>
        <Files files={files} onFiles={setFiles} />
        <FormFoot act={t('save')} />
      </form>
    </Dialog>
  );
}

function Files({
  files,
  onFiles,
}: {
  files: FileInfo[];
  onFiles: (change: (files: FileInfo[]) => FileInfo[]) => void;
}) {
  const [busy, setBusy] = useState(false);
  const take = async (list: File[]): Promise<void> => {
    setBusy(true);
    for (const file of list.slice(0, FILES_MAX - files.length)) {
      try {
        const read = await readFile(file);
        const info = await api.upload(read.name, read.text, read.type);
        onFiles((now) => [...now, info]);
      } catch (error) {
        fail(error);
      }
    }
    setBusy(false);
  };
  return (
    <div class="folder-files">
      <b>{t('folderFiles')}</b>
      <p class="muted">{t('folderFilesHint')}</p>
      {files.length > 0 && (
        <ul class="files sent">
          {files.map((f) => (
            <li key={f.id} class="file">
              <b dir="auto">{f.name}</b>
              <span class="num">{bytes(f.size)}</span>
              <IconButton
                icon="x"
                small
                label={`${t('remove')}: ${f.name}`}
                onClick={() => onFiles((now) => now.filter((x) => x.id !== f.id))}
              />
            </li>
          ))}
        </ul>
      )}
      <label class="b line" aria-busy={busy}>
        <Icon name="clip" small />
        {t('folderFileAdd')}
        <input
          class="vh"
          type="file"
          multiple
          disabled={busy || files.length >= FILES_MAX}
          onChange={(e) => {
            const list = [...(e.currentTarget.files ?? [])];
            e.currentTarget.value = '';
            void take(list);
          }}
        />
      </label>
    </div>
  );
}

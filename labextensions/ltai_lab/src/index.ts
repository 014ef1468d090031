/** Plugins of LtAI in JupyterLab; each can be switched off by itself. */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';
import { Client, commandLine, getJson, languageOf, makeQueryClient, makeWords, titleOf, type Key, type Language } from '@ltai/ui';
import { createElement } from 'react';

import { headersOf, infoUrl, makeConnection, type Info } from './connection';
import { endpointIcon, environmentIcon, jobIcon, logoIcon, modelIcon, usageIcon } from './icons';
import './lab.css';
import { StatusMonitor } from './status';
import { CommandIDs, ILtai } from './tokens';
import { makeSidebar, makeStatus, PanelWidget, type Frame } from './view';

const queries = makeQueryClient();

interface Shared extends ILtai {
  frame(): Frame;
}

const plugin: JupyterFrontEndPlugin<ILtai> = {
  id: '@ltai/lab:plugin',
  description: 'Pages of LtAI as tabs, and their commands.',
  autoStart: true,
  provides: ILtai,
  optional: [ITranslator, ISettingRegistry, ICommandPalette, ILayoutRestorer],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null, settings: ISettingRegistry | null, palette: ICommandPalette | null, restorer: ILayoutRestorer | null): ILtai => {
    const server = app.serviceManager.serverSettings;
    const client = new Client(makeConnection(server));
    const info = getJson<Info>(infoUrl(server), headersOf(server));
    let consoleUrl = '';
    info.then(told => (consoleUrl = told.console)).catch(() => undefined);

    let wish = 'auto';
    const language = (): Language => languageOf(wish !== 'auto' ? wish : translator?.languageCode);
    const words = (): ReturnType<typeof makeWords> => makeWords(language());
    settings
      ?.load(plugin.id)
      .then(loaded => {
        const read = (): void => {
          wish = loaded.get('language').composite as string;
          app.commands.notifyCommandChanged();
        };
        read();
        loaded.changed.connect(read);
      })
      .catch(error => console.warn('LtAI: its settings cannot be read', error));

    const open = (path: string): void => void app.commands.execute(CommandIDs.open, { path });
    const frame = (): Frame => ({ client, queries, language: language(), console: consoleUrl, open });
    const tracker = new WidgetTracker<MainAreaWidget<PanelWidget>>({ namespace: 'ltai' });
    const ltai: Shared = { client, info, words, label: key => () => words().t(key), open, frame };

    app.commands.addCommand(CommandIDs.open, {
      label: args => {
        const { key, detail } = titleOf(String(args.path ?? '/').split('?')[0]);
        return [words().t(key), detail].filter(Boolean).join(' ');
      },
      execute: args => {
        const [path, query = ''] = String(args.path ?? '/').split('?');
        const known = tracker.find(widget => widget.content.path === path);
        // The same page with another query (a form prefilled anew) replaces the old one.
        if (known && !query) return app.shell.activateById(known.id);
        known?.dispose();
        const widget = new MainAreaWidget({ content: new PanelWidget(frame(), path, query) });
        const { key, detail } = titleOf(path);
        widget.id = `ltai-${path}`;
        widget.title.label = [words().t(key), detail].filter(Boolean).join(' ');
        widget.title.icon = iconOf(path);
        widget.title.closable = true;
        void tracker.add(widget);
        app.shell.add(widget, 'main');
        app.shell.activateById(widget.id);
      }
    });
    void restorer?.restore(tracker, { command: CommandIDs.open, args: widget => ({ path: widget.content.path }), name: widget => widget.content.path });

    const go = (id: string, key: Key, path: string, icon: LabIcon): void => {
      app.commands.addCommand(id, { label: ltai.label(key), caption: ltai.label(key), icon, execute: () => open(path) });
      palette?.addItem({ command: id, category: 'LtAI' });
    };
    go(CommandIDs.environments, 'environment.many', '/environments', environmentIcon);
    go(CommandIDs.newJob, 'job.new', '/jobs/new', jobIcon);
    go(CommandIDs.registerModel, 'model.register', '/jobs', modelIcon);
    go(CommandIDs.publish, 'endpoint.publish', '/endpoints/new', endpointIcon);
    go(CommandIDs.usage, 'usage.title', '/usage', usageIcon);
    app.commands.addCommand(CommandIDs.console, {
      label: ltai.label('lab.openConsole'),
      icon: logoIcon,
      isEnabled: () => consoleUrl !== '',
      execute: () => void window.open(consoleUrl, '_blank', 'noopener')
    });
    palette?.addItem({ command: CommandIDs.console, category: 'LtAI' });
    return ltai;
  }
};

function iconOf(path: string): LabIcon {
  const icons: Record<string, LabIcon> = { environments: environmentIcon, jobs: jobIcon, models: modelIcon, endpoints: endpointIcon, usage: usageIcon };
  return icons[path.split('/')[1]] ?? logoIcon;
}

const sidebar: JupyterFrontEndPlugin<void> = {
  id: '@ltai/lab:sidebar',
  description: 'Environment, jobs, models, endpoints and usage at the left.',
  autoStart: true,
  requires: [ILtai],
  optional: [ILayoutRestorer],
  activate: async (app: JupyterFrontEnd, ltai: ILtai, restorer: ILayoutRestorer | null) => {
    const info = await ltai.info.catch(() => null);
    const widget = makeSidebar((ltai as Shared).frame(), info?.connected ?? false);
    widget.id = 'ltai-sidebar';
    widget.title.icon = logoIcon;
    widget.title.caption = ltai.words().t('lab.sidebar');
    widget.node.setAttribute('aria-label', ltai.words().t('lab.sidebar'));
    widget.node.setAttribute('role', 'region');
    restorer?.add(widget, widget.id);
    app.shell.add(widget, 'left', { rank: 150 });
  }
};

const launcher: JupyterFrontEndPlugin<void> = {
  id: '@ltai/lab:launcher',
  description: 'Cards of LtAI in the launcher.',
  autoStart: true,
  requires: [ILtai, ILauncher],
  activate: async (_app: JupyterFrontEnd, ltai: ILtai, cards: ILauncher) => {
    const info = await ltai.info.catch(() => null);
    if (!info?.connected) return;
    const commands = [CommandIDs.newJob, CommandIDs.registerModel, CommandIDs.publish, CommandIDs.usage, CommandIDs.console];
    commands.forEach((command, rank) => cards.add({ command, category: 'LtAI', rank }));
  }
};

const files: JupyterFrontEndPlugin<void> = {
  id: '@ltai/lab:files',
  description: '"Run as job" on notebooks and scripts.',
  autoStart: true,
  requires: [ILtai, IFileBrowserFactory],
  activate: (app: JupyterFrontEnd, ltai: ILtai, browsers: IFileBrowserFactory) => {
    const selected = (): string | null => {
      const items = [...(browsers.tracker.currentWidget?.selectedItems() ?? [])];
      return items.length === 1 && commandOf(items[0].path) ? items[0].path : null;
    };
    app.commands.addCommand(CommandIDs.runAsJob, {
      label: ltai.label('lab.runAsJob'),
      icon: jobIcon,
      isVisible: () => selected() !== null,
      execute: () => {
        const path = selected();
        const command = path && commandOf(path);
        if (!path || !command) return;
        const name = PathExt.basename(path, PathExt.extname(path));
        ltai.open(`/jobs/new?${new URLSearchParams({ name, command: commandLine(command), cwd: PathExt.dirname(localPath(path)) })}`);
      }
    });
    app.contextMenu.addItem({ command: CommandIDs.runAsJob, selector: '.jp-DirListing-item[data-isdir="false"]', rank: 3 });
  }
};

/** Without the drive that collaboration puts in front ("RTC:digits/train.py"). */
const localPath = (path: string): string => path.slice(path.indexOf(':') + 1);

/** What runs a file as a job, in its own folder; null for files that do not run. */
function commandOf(path: string): string[] | null {
  const name = PathExt.basename(path);
  switch (PathExt.extname(path)) {
    case '.ipynb':
      return ['python', '-m', 'ltai_lab.run_notebook', name];
    case '.py':
      return ['python', name];
    case '.sh':
      return ['bash', name];
    default:
      return null;
  }
}

const monitor: JupyterFrontEndPlugin<void> = {
  id: '@ltai/lab:monitor',
  description: 'CPU, memory, GPU and price of this environment in the status bar.',
  autoStart: true,
  requires: [ILtai, IStatusBar],
  optional: [ISettingRegistry],
  activate: async (_app: JupyterFrontEnd, ltai: ILtai, bar: IStatusBar, settings: ISettingRegistry | null) => {
    const info = await ltai.info.catch(() => null);
    if (!info?.connected) return;
    const seconds = await settings?.load(monitor.id).then(loaded => loaded.get('interval').composite as number, () => 3);
    const item = makeStatus(
      (ltai as Shared).frame(),
      createElement(StatusMonitor, { server: info.server, seconds: seconds ?? 3, onClick: environment => ltai.open(`/environments/${environment.id}`) })
    );
    bar.registerStatusItem('ltai-monitor', { item, align: 'left', rank: 100 });
  }
};

export default [plugin, sidebar, launcher, files, monitor];

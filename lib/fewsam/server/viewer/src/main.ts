/** Our extension and mode, given to the viewer as objects through its configuration script. */

import { base } from './api';
import { outside } from './components/style';
import { mendExport } from './viewer/export';
import { Panel } from './panel';
import { host } from './viewer/ohif';

type Any = any;

const EXTENSION = 'fewsam';
const PANEL = `${EXTENSION}.panelModule.fewsam`;

let panel: Panel | null = null;

// A React element made by hand, since the viewer keeps React to itself; its ref mounts plain DOM.
const mount = (node: HTMLElement | null): void => {
  if (!node) return;
  node.style.height = '100%';
  panel ??= new Panel(PANEL);
  node.replaceChildren(panel.root);
};
const element = {
  $$typeof: Symbol.for('react.element'),
  type: 'div',
  key: null,
  ref: mount,
  props: {},
  _owner: null,
  _store: {},
};

const extension = {
  id: EXTENSION,
  preRegistration({ servicesManager, commandsManager, extensionManager }: Any) {
    host.services = servicesManager.services;
    host.commands = commandsManager;
    host.extensions = extensionManager;
  },
  onModeEnter: mendExport,
  onModeExit() {
    panel?.close();
    panel = null;
  },
  getPanelModule: () => [
    { name: 'fewsam', iconName: 'tab-segmentation', iconLabel: 'Few-shot', label: 'Few-shot', component: () => element },
  ],
};

const mode = {
  id: 'fewsam',
  modeFactory: async ({ modeConfiguration, loadModules }: Any) => {
    const [stock] = await loadModules(['@ohif/mode-segmentation']);
    const made = stock.modeFactory({ modeConfiguration });
    return {
      ...made,
      id: 'fewsam',
      routeName: 'fewsam',
      displayName: 'Few-shot segmentation',
      isValidMode: ({ modalities }: Any) => ({
        valid: !['SM', 'ECG', 'SEG', 'RTSTRUCT'].includes(modalities),
        description: 'Label a few slices of an image series',
      }),
      routes: made.routes.map((route: Any) => ({
        ...route,
        layoutTemplate: (given: Any) => {
          const layout = route.layoutTemplate(given);
          return { ...layout, props: { ...layout.props, rightPanels: [PANEL, ...layout.props.rightPanels] } };
        },
      })),
    };
  },
};

// MONAI Label's own panel takes its server's address from here; cookies are of a host, whatever the port.
document.cookie = `MONAILABEL_SERVER_URL=${escape(`${base}/`)}; path=/`;

const sheet = document.createElement('style');
sheet.textContent = outside;
document.head.append(sheet);

const config = (window as Any).config;
config.extensions = [...(config.extensions ?? []), extension];
config.modes = [...(config.modes ?? []), mode];
// The viewer's own notice lies over the image until it is clicked away; the panel says the same at its foot.
config.investigationalUseDialog ??= { option: 'never' };
